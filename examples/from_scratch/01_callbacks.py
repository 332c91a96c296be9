# 01: a deque of callbacks. "Soon" is the next iteration: what a callback schedules never runs in this one.
from collections import deque


class EventLoop:
    def __init__(self):
        self.ready = deque()
        self.stopping = False

    def call_soon(self, f, *args):
        self.ready.append((f, args))

    def run_forever(self):
        while True:
            self.run_once()
            if self.stopping:
                break
        self.stopping = False

    def stop(self):
        self.stopping = True

    def run_once(self):
        self.run_ready()

    def run_ready(self):
        for _ in range(len(self.ready)):
            f, args = self.ready.popleft()
            f(*args)


def say(text):
    print(text)


loop = EventLoop()


def first():
    say("first: schedules third, and stops the loop")
    loop.call_soon(say, "third: in the next iteration, for it was not there when the last one began")
    loop.stop()


def main():
    loop.call_soon(first)
    loop.call_soon(say, "second: stop() has been called, but an iteration runs to its end")
    say("main: first and second are scheduled, and nothing has run")
    loop.run_forever()
    say("main: the loop has stopped, and third is still in the queue")
    loop.stop()
    loop.run_forever()


main()
