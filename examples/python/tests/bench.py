"""What things cost on the stock loop, on this kernel and on uvloop, in microseconds of CPU time.

    bench.py [ROUNDS]       each round measures every loop once, in a process of its own; the least of all rounds counts
"""
import asyncio
import importlib.util
import os
import socket
import subprocess
import sys
import time

TIMES = 50_000  # how often each is done


def new_loop(name):
    if name == "stock":
        return asyncio.SelectorEventLoop()
    module = __import__(name)
    return module.new_event_loop()


def nothing():
    pass


def callbacks(loop):
    """call_soon and the call, a hundred in each iteration"""
    left = TIMES // 100

    def fill():
        nonlocal left
        for _ in range(99):
            loop.call_soon(nothing)
        left -= 1
        loop.call_soon(fill if left else loop.stop)

    loop.call_soon(fill)
    loop.run_forever()


def iterations(loop):
    """the same, one in each iteration: the selector is asked every time"""
    left = TIMES

    def step():
        nonlocal left
        left -= 1
        loop.call_soon(step if left else loop.stop)

    loop.call_soon(step)
    loop.run_forever()


def timers(loop):
    """call_later and the call"""
    for i in range(TIMES):
        loop.call_later(1e-6 * (i % 1000), nothing)
    loop.call_later(0.002, loop.stop)
    loop.run_forever()


def steps(loop):
    """a step of a task that awaits sleep(0), of a hundred tasks"""
    async def task():
        for _ in range(TIMES // 100):
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(*[task() for _ in range(100)])

    loop.run_until_complete(main())


def messages(loop):
    """sock_sendall and sock_recv of a byte, there and back"""
    async def answer(there):
        while data := await loop.sock_recv(there, 1):
            await loop.sock_sendall(there, data)

    async def main():
        here, there = socket.socketpair()
        here.setblocking(False), there.setblocking(False)
        answering = loop.create_task(answer(there))
        for _ in range(TIMES // 10):
            await loop.sock_sendall(here, b"x")
            await loop.sock_recv(here, 1)
        here.close()
        await answering
        there.close()

    loop.run_until_complete(main())


WHAT = {callbacks: TIMES, iterations: TIMES, timers: TIMES, steps: TIMES, messages: TIMES // 10}


def measure(name):
    loop = new_loop(name)
    for what, times in WHAT.items():
        start = time.process_time()
        what(loop)
        print((time.process_time() - start) / times * 1e6)
    loop.close()


def main(rounds):
    names = [name for name in ("stock", "cpploop", "uvloop") if name == "stock" or importlib.util.find_spec(name)]
    best = {name: [float("inf")] * len(WHAT) for name in names}
    for _ in range(rounds):
        for name in names:
            done = subprocess.run([sys.executable, __file__, "--measure", name], stdout=subprocess.PIPE, text=True, check=True)
            best[name] = [min(pair) for pair in zip(best[name], map(float, done.stdout.split()))]
    print(f"CPython {sys.version.split()[0]}, µs of CPU time each, least of {rounds} rounds, load {os.getloadavg()[0]:.1f}")
    print(f"{'':70}" + "".join(f"{name:>10}" for name in names))
    for i, what in enumerate(WHAT):
        print(f"{what.__name__ + ': ' + what.__doc__:70}" + "".join(f"{best[name][i]:10.2f}" for name in names))
    if "uvloop" not in names:
        print("there is no uvloop here (apt-get install python3-uvloop, for Debian's Python)")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2])
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 5)
