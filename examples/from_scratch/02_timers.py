# 02: a heap of timers. The loop sleeps until the first one is due, and not longer than that.
import heapq
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
        time.sleep(self.select_timeout())
        self.queue_due_timers()
        self.run_ready()

    def drop_cancelled_timers(self):
        while self.scheduled and self.scheduled[0].cancelled:
            heapq.heappop(self.scheduled)

    def select_timeout(self):
        if self.ready or self.stopping or not self.scheduled:
            return 0
        return max(self.scheduled[0].when - self.time(), 0)

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
    start = loop.time()
    loop.call_later(0.1, loop.stop)
    loop.call_later(0.05, say, "0.05 s")
    loop.call_later(0.07, say, "never shown").cancel()
    for i in range(5):
        loop.call_at(start + 0.02, say, f"0.02 s: number {i}")
    loop.run_forever()
    say("too early" if loop.time() - start < 0.1 else "main: 0.1 s are over")


main()
