# 08: sleep is a future and a timer that sets it; run is a loop of one's own for one coroutine.
import heapq
import os
import selectors
import time
import types
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
        EventLoop.running_loop = self
        while True:
            self.run_once()
            if self.stopping:
                break
        self.stopping = False
        EventLoop.running_loop = None

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

    running_loop = None


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
        if future is None:  # a bare yield: its turn comes again in the next iteration
            return self.step_soon()
        future.add_done_callback(self.wakeup)

    def wakeup(self, future):
        self.step()


def get_running_loop():
    return EventLoop.running_loop


def create_task(coroutine, loop=None):
    task = Task(loop or get_running_loop(), coroutine)
    task.step_soon()
    return task


@types.coroutine
def bare_yield():
    yield


async def sleep(delay):
    if delay <= 0:
        return await bare_yield()
    future = Future(get_running_loop())

    def set_result_unless_done():
        if not future.done():
            future.set_result(0)

    get_running_loop().call_later(delay, set_result_unless_done)
    return await future


def run(main):
    loop = EventLoop()
    return loop.run_until_complete(create_task(main, loop))


def say(text):
    print(text)


async def turns(name):
    for i in (1, 2):
        say(f"  {name}: turn {i}")
        await sleep(0)


async def sleeper(delay):
    await sleep(delay)
    say(f"  slept for {int(delay * 100 + 0.5)}/100 s")


async def tour():
    say("two tasks that sleep(0):")
    a, b = create_task(turns("a")), create_task(turns("b"))
    await a
    await b
    say("three sleepers at the same time:")
    c, d, e = create_task(sleeper(0.06)), create_task(sleeper(0.02)), create_task(sleeper(0.04))
    await c
    say("tour: the longest one is done, and so are the others")


run(tour())
