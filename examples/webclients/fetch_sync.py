# One page after the other: while one is on its way, nothing happens.
# Look at the last line: the site never sees two of us at once, and five slow pages take five times as long as one.
import socket

import site_


def get(port, path):
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(site_.request(path))
        raw = b""
        while len(raw) <= site_.MAX_ANSWER and (data := sock.recv(4096)):
            raw += data
        return raw


def fetch(port, path):
    journey = site_.Journey(path)
    while not journey.arrive(get(port, journey.path)):
        continue
    return journey.report


with site_.Site() as site:
    for path in site_.URLS:
        print(fetch(site.port, path))
    print("slow pages at once:", site.most_at_once)
