"""The rows in Python: cpython.py asyncio, or cpython.py uvloop (which must be importable)."""
import asyncio
import os
import platform
import random
import sys
import time

SLEEPERS = 100_000


def median(values):
    return sorted(values)[len(values) // 2]


def cpu_ns(function):
    start = time.process_time_ns()
    function()
    return time.process_time_ns() - start


def show(row, value):
    print(f"{row:<36} {value:10.1f}", flush=True)


def measure(row, function, operations, repetitions=3):
    function()
    show(row, median([function() / operations for _ in range(repetitions)]))


def reschedule(n=100_000):
    loop = new_event_loop()
    left = n

    def again():
        nonlocal left
        left -= 1
        loop.call_soon(again) if left else loop.stop()

    loop.call_soon(again)
    ns = cpu_ns(loop.run_forever)
    loop.close()
    return ns


def queue(n=1_000_000):
    loop = new_event_loop()

    def body():
        for _ in range(n):
            loop.call_soon(int)
        loop.call_soon(loop.stop)
        loop.run_forever()

    ns = cpu_ns(body)
    loop.close()
    return ns


def run(main):
    loop = new_event_loop()
    ns = cpu_ns(lambda: loop.run_until_complete(main))
    loop.close()
    return ns


async def switcher(turns):
    for _ in range(turns):
        await asyncio.sleep(0)


async def switches(tasks, n=100_000):
    for task in [asyncio.create_task(switcher(n // tasks)) for _ in range(tasks)]:
        await task


async def nested(depth):
    return 1 if depth == 1 else await nested(depth - 1) + 1


async def chains(n=200_000):
    for _ in range(n // 10):
        await nested(10)


async def child(i):
    return i


async def create(n=50_000, batch=1000):
    for _ in range(n // batch):
        for task in [asyncio.create_task(child(i)) for i in range(batch)]:
            await task


def resident_bytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def sleeper():
    await asyncio.sleep(1)


async def sleepers():
    before = resident_bytes()
    tasks = [asyncio.create_task(sleeper()) for _ in range(SLEEPERS)]
    await asyncio.sleep(0)
    show("sleeping task (bytes)", (resident_bytes() - before) / SLEEPERS)
    for task in tasks:
        await task


def timers(n=200_000):
    loop = new_event_loop()
    delays = [random.uniform(100, 1100) for _ in range(n)]
    order = random.sample(range(n), n)

    def body():
        handles = [loop.call_later(delay, int) for delay in delays]
        for i in order:
            handles[i].cancel()
        loop.call_soon(loop.stop)
        loop.run_forever()

    ns = cpu_ns(body)
    loop.close()
    return ns


def lateness(n=10_000):
    loop = new_event_loop()
    late = []

    def fired(when):
        late.append(time.monotonic() - when)
        if len(late) == n:
            loop.stop()

    start = loop.time()
    shift = time.monotonic() - start
    for _ in range(n):
        delay = random.uniform(0.05, 1.05)
        loop.call_at(start + delay, fired, start + delay + shift)
    loop.run_forever()
    loop.close()
    late.sort()
    show("10k timers, late median (us)", 1e6 * late[n // 2])
    show("10k timers, late p99 (us)", 1e6 * late[n * 99 // 100])
    show("10k timers, fired early", sum(seconds < 0 for seconds in late))


if sys.argv[1:] == ["uvloop"]:
    try:
        import uvloop
    except ImportError:
        sys.exit("uvloop is not installed")
    new_event_loop = uvloop.new_event_loop
    print("peer uvloop", uvloop.__version__)
else:
    new_event_loop = asyncio.new_event_loop
    print("peer CPython", platform.python_version())

random.seed(1)
show("create + sleep(1) + finish (ns)", run(sleepers()) / SLEEPERS)
measure("call_soon, reschedules itself (ns)", reschedule, 100_000)
measure("1M call_soon, then run (ns)", queue, 1_000_000)
measure("sleep(0), 2 tasks (ns)", lambda: run(switches(2)), 100_000)
measure("sleep(0), 1,000 tasks (ns)", lambda: run(switches(1000)), 100_000)
measure("nested await, depth 10 (ns)", lambda: run(chains()), 200_000)
measure("create_task + finish (ns)", lambda: run(create()), 50_000)
measure("call_later + cancel, 1M (ns)", timers, 200_000)
lateness()
