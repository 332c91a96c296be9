# 03: epoll instead of sleeping, and poll beside it: whatever comes first, a descriptor or a timer, ends the sleep.
import heapq
import os
import selectors
import time
from collections import deque


class Handle:
    """A callback that is scheduled: whoever refers to it can cancel it."""

    def __init__(self, callback, args, when=0):
        self.callback, self.args, self.when = callback, args, when
        self.cancelled = False

    def __lt__(self, other):
        return self.when < other.when

    def cancel(self):
        self.cancelled = True

    def run(self):
        self.callback(*self.args)


class EventLoop:
    def __init__(self):
        self.selector = selectors.EpollSelector()  # a PollSelector would do as well
        self.ready = deque()
        self.scheduled = []  # a heap: the next one first
        self.stopping = False

    def time(self):
        return time.monotonic()

    def call_soon(self, f, *args):
        handle = Handle(f, args)
        self.ready.append(handle)
        return handle

    def call_later(self, delay, f, *args):
        return self.call_at(self.time() + delay, f, *args)

    def call_at(self, when, f, *args):
        timer = Handle(f, args, when)
        heapq.heappush(self.scheduled, timer)
        return timer

    def add_reader(self, fd, f, *args):
        self.selector.register(fd, selectors.EVENT_READ, Handle(f, args))

    def run_forever(self):
        while True:
            self.run_once()
            if self.stopping:
                break
        self.stopping = False

    def stop(self):
        self.stopping = True

    def run_once(self):
        self.drop_cancelled_timers()
        self.process_events(self.selector.select(self.select_timeout()))
        self.queue_due_timers()
        self.run_ready()

    def drop_cancelled_timers(self):
        while self.scheduled and self.scheduled[0].cancelled:
            heapq.heappop(self.scheduled)

    def select_timeout(self):
        if self.ready or self.stopping:
            return 0
        if not self.scheduled:
            return None
        return max(self.scheduled[0].when - self.time(), 0)

    def process_events(self, events):
        for key, mask in events:
            self.ready.append(key.data)

    def queue_due_timers(self):
        end_time = self.time() + 1e-9  # the clock's resolution
        while self.scheduled and self.scheduled[0].when < end_time:
            self.ready.append(heapq.heappop(self.scheduled))

    def run_ready(self):
        for _ in range(len(self.ready)):
            handle = self.ready.popleft()
            if not handle.cancelled:
                handle.run()


def say(text):
    print(text)


loop = EventLoop()


def main():
    ends = os.pipe()

    def on_readable():
        data = os.read(ends[0], 5)
        say("reader: " + data.decode())
        if len(data) < 5:
            loop.stop()

    loop.add_reader(ends[0], on_readable)
    loop.call_later(0.02, say, "timer: writes 11 bytes")
    loop.call_later(0.02, os.write, ends[1], b"hello, loop")
    loop.run_forever()
    selector = selectors.PollSelector()
    selector.register(ends[0], selectors.EVENT_READ)
    if os.write(ends[1], b"bye") > 0:
        say(f"poll: of 1 descriptor ready: {len(selector.select(0))}")


main()
