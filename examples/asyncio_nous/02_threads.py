# Three pages, each in a thread: the kernel lets another one run while one waits.
# Look at the time: 0.3 s, or a little more. And at the price: a stack for every page, and a lock for whatever two threads
# share; here join() does.
import threading

from tinysite import TinySite, download, measure


def main(port):
    pages = {}
    paths = ("/one", "/two", "/three")

    def work(path):
        pages[path] = download(port, path)

    threads = [threading.Thread(target=work, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for path in paths:
        print(pages[path], end="")


with TinySite() as site:
    measure(lambda: main(site.port))
