# The tour: an event loop that says what it does. Its selector is told, in every iteration, how long the loop
# is willing to sleep, and prints that with the iteration's number; all else is printed by what the loop runs. The loop's
# clock counts what it has slept, and nothing else: so the tour is the same on a busy machine.
import asyncio
import os
import selectors
import threading
import time


slept = 0


class TourLoop(asyncio.SelectorEventLoop):
    def time(self):
        return slept


class TalkingSelector(selectors.DefaultSelector):
    def select(self, timeout=None):
        global slept
        self.iteration += 1
        print(f"  [{self.iteration:2}] ", end="")
        if timeout is None:
            print("nothing to run, and no timer: sleep until a descriptor is ready")
        elif timeout > 0:
            print(f"nothing to run: sleep until the next timer, for {round(timeout, 1):g} s")
        else:
            print("something to run: do not sleep")
        slept += timeout or 0
        return super().select(timeout)

    iteration = 0


def act(title, text):
    print(f"\n{title}\n   {text}")


def say(text):
    print(f"        {text}")


def say_and_stop(text):
    say(text)
    asyncio.get_running_loop().stop()


def a():
    say("a: schedules c")
    asyncio.get_running_loop().call_soon(say_and_stop, "c: stops the loop")


def produce(future):
    say("timer: calls set_result(42)")
    future.set_result(42)
    say("timer: set_result() has returned, and the task has not run yet")


async def consume(future):
    say("task: awaits the future")
    result = await future
    say(f"task: the result is {result}")


async def work(name, pause):
    print(f"        {name}: awaits sleep({pause:g})")
    await asyncio.sleep(pause)
    say(name + ": goes on, and returns")


async def two_tasks(left_pause, right_pause):
    start = asyncio.get_running_loop().time()
    left = asyncio.create_task(work("left", left_pause))
    right = asyncio.create_task(work("right", right_pause))
    say("main: has made two tasks, and neither has begun; awaits them")
    await left
    await right
    elapsed = asyncio.get_running_loop().time() - start
    print(f"        main: both are done after {round(elapsed, 1):g} s")


async def sleep_for_an_hour():
    say("task: awaits sleep(3600)")
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        say("task: a CancelledError, here at the await; cleans up, and lets it go on")
        raise


async def cancel_a_task():
    task = asyncio.create_task(sleep_for_an_hour())
    say("main: has made a task, and awaits sleep(0.1)")
    await asyncio.sleep(0.1)
    say("main: calls task.cancel(), and awaits the task")
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        say("main: the task is cancelled, and nobody has waited for an hour")


def on_readable(loop, fd):
    data = os.read(fd, 100)
    if data:
        return say(f'reader: "{data.decode()}"')
    loop.remove_reader(fd)
    say_and_stop("reader: the end, the pipe was closed")


def write_later(fd):
    time.sleep(0.2)
    os.write(fd, b"hello from another thread")
    os.close(fd)


def run_until_complete(loop, coroutine):
    loop.run_until_complete(coroutine)
    say("run_until_complete: has heard that its task is done, and returns")


def main():
    loop = TourLoop(TalkingSelector())
    print("An event loop is one thread that goes round and round: it asks what happened, then runs what is ready.\n[n] is the start of its n-th iteration.")

    act("1. call_soon", "A callback runs in the next iteration, never at once, and in the order of the calls.")
    loop.call_soon(a)
    loop.call_soon(say, "b")
    say("main: has scheduled a and b, and nothing has run yet")
    loop.run_forever()

    act("2. call_later", "Timers run in the order in which they are due. In between, the loop sleeps.")
    loop.call_later(0.2, say_and_stop, "the timer for 0.2 s, set first")
    loop.call_later(0.1, say, "the timer for 0.1 s, set second")
    loop.call_later(0.1, say, "never shown").cancel()
    loop.run_forever()

    act("3. Future and Task", "A task that awaits is a callback of the future: it goes on one iteration after set_result().")
    future = loop.create_future()
    loop.call_later(0.1, produce, future)
    run_until_complete(loop, consume(future))

    act("4. sleep(0)", "Tasks take turns: each one runs until it awaits.")
    run_until_complete(loop, two_tasks(0, 0))

    act("5. sleep(0.2) and sleep(0.1)", "At the same time, they take 0.2 s. A timer sets a future: the sleeper goes on an iteration later.")
    run_until_complete(loop, two_tasks(0.2, 0.1))

    act("6. cancel", "An exception, thrown into the task at the await where it is suspended.")
    run_until_complete(loop, cancel_a_task())

    act("7. add_reader", "A thread will write to a pipe. The kernel wakes the loop when there is something to read.")
    read_end, write_end = os.pipe()
    loop.add_reader(read_end, on_readable, loop, read_end)
    writer = threading.Thread(target=write_later, args=(write_end,))
    writer.start()
    loop.run_forever()
    writer.join()
    os.close(read_end)
    loop.close()


main()
