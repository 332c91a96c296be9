# A thread for each page: fetch() and get() are those of fetch_sync, and the pages are on their way together.
# Look at the end: that is all it takes. What it costs is a stack for each, and that nobody can tell any more who runs
# when.
import socket
import threading

import site_


def get(port, path):
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(site_.request(path))
        raw = b""
        while len(raw) <= site_.MAX_ANSWER and (data := sock.recv(4096)):
            raw += data
        return raw


def fetch(port, path, reports, i):
    journey = site_.Journey(path)
    while not journey.arrive(get(port, journey.path)):
        continue
    reports[i] = journey.report


with site_.Site() as site:
    reports = [None] * len(site_.URLS)
    threads = [
        threading.Thread(target=fetch, args=(site.port, path, reports, i)) for i, path in enumerate(site_.URLS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for report in reports:
        print(report)
    print("slow pages at once:", site.most_at_once)
