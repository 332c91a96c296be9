# One thread, and callbacks: whoever waits for the network leaves the loop a function to go on with.
# Look at Fetcher: what was one function in fetch_sync is torn into three, and its variables have become attributes.
import asyncio
import socket

import site_


class Fetcher:
    def __init__(self, loop, port, path, done):
        self.journey = site_.Journey(path)
        self.loop = loop
        self.port = port
        self.done = done

    def start(self):
        self.raw = b""
        self.sock = socket.socket()
        self.sock.setblocking(False)
        try:
            self.sock.connect(("127.0.0.1", self.port))
        except BlockingIOError:
            pass  # it is in progress
        self.loop.add_writer(self.sock, self.on_connected)

    def on_connected(self):
        self.loop.remove_writer(self.sock)
        self.sock.send(site_.request(self.journey.path))
        self.loop.add_reader(self.sock, self.on_readable)

    def on_readable(self):
        data = self.sock.recv(4096)
        self.raw += data
        if data and len(self.raw) <= site_.MAX_ANSWER:
            return
        self.loop.remove_reader(self.sock)
        self.sock.close()
        if self.journey.arrive(self.raw):
            self.done()
        else:
            self.start()


with site_.Site() as site:
    loop = asyncio.new_event_loop()
    left = len(site_.URLS)

    def done():
        global left
        left -= 1
        if left == 0:
            loop.stop()

    fetchers = [Fetcher(loop, site.port, path, done) for path in site_.URLS]
    for fetcher in fetchers:
        fetcher.start()
    loop.run_forever()
    loop.close()
    for fetcher in fetchers:
        print(fetcher.journey.report)
    print("slow pages at once:", site.most_at_once)
