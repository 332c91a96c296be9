# Three pages, one after the other: the program waits for each, and does nothing meanwhile.
# Look at the time: three times 0.3 s.
from tinysite import TinySite, download, measure


def main(port):
    for path in ("/one", "/two", "/three"):
        print(download(port, path), end="")


with TinySite() as site:
    measure(lambda: main(site.port))
