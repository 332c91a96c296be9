# 07: a task: a future that drives a coroutine. A step runs to the next await, whose future calls the next step.
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

    def run_until_complete(self, future):
        future.add_done_callback(lambda future: self.stop())
        self.run_forever()
        return future.result()

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


class InvalidStateError(Exception):
    pass


class Future:
    """A result that is not there yet, or the exception that came instead."""

    def __init__(self, loop):
        self.loop = loop
        self.is_done = False
        self.value = self.exception = None
        self.callbacks = []

    def done(self):
        return self.is_done

    def result(self):
        if not self.done():
            raise InvalidStateError("Result is not ready.")
        if self.exception:
            raise self.exception
        return self.value

    def set_result(self, result):
        self.finish(result, None)

    def set_exception(self, exception):
        self.finish(None, exception)

    def add_done_callback(self, callback):
        self.callbacks.append(callback)
        if self.done():
            self.schedule_callbacks()

    def finish(self, result, exception):
        if self.done():
            raise InvalidStateError("invalid state")
        self.is_done, self.value, self.exception = True, result, exception
        self.schedule_callbacks()

    def schedule_callbacks(self):
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            self.loop.call_soon(callback, self)

    def __await__(self):
        if not self.done():
            yield self
        return self.result()


class Task(Future):
    """A future that drives a coroutine, whose result it is."""

    def __init__(self, loop, coroutine):
        super().__init__(loop)
        self.coro = coroutine

    def step(self):
        try:
            future = self.coro.send(None)
        except StopIteration as stop:
            self.set_result(stop.value)
        except Exception as error:
            self.set_exception(error)
        else:
            self.handle_yield(future)

    def step_soon(self):
        self.loop.call_soon(self.step)

    def handle_yield(self, future):
        future.add_done_callback(self.wakeup)

    def wakeup(self, future):
        self.step()


def create_task(loop, coroutine):
    task = Task(loop, coroutine)
    task.step_soon()
    return task


def say(text):
    print(text)


async def work(name, future):
    say(f"  {name}: begins, and awaits the future")
    n = await future
    say(f"  {name}: has {n}")
    return n + 1


async def tour(loop, future):
    a, b = create_task(loop, work("a", future)), create_task(loop, work("b", future))
    say("tour: has made two tasks, and neither has begun; awaits them")
    x, y = await a, await b
    say("tour: both are done")
    return x + y


def set_future(future):
    say("timer: calls set_result(20), and both are woken")
    future.set_result(20)


def main():
    loop = EventLoop()
    future = Future(loop)
    loop.call_later(0.02, set_future, future)
    task = create_task(loop, tour(loop, future))
    say(f"main: run_until_complete() returned {loop.run_until_complete(task)}")


main()
