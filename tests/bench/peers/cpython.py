"""The rows in Python: cpython.py asyncio|uvloop|gevent lists them, cpython.py PEER ROW [N] measures one."""
import os
import random
import socket
import sys
import time

PEER, ARGUMENTS = sys.argv[1], sys.argv[2:]
random.seed(1)


def cpu_ns(function):
    start = time.process_time_ns()
    function()
    return time.process_time_ns() - start


def resident_bytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def asyncio_rows():
    import asyncio
    if PEER == "uvloop":
        import uvloop
        new_event_loop = uvloop.new_event_loop
    else:
        new_event_loop = asyncio.new_event_loop

    def run(main):
        loop = new_event_loop()
        ns = cpu_ns(lambda: loop.run_until_complete(main))
        loop.close()
        return ns

    def reschedule(n):
        loop = new_event_loop()
        left = n

        def again():
            nonlocal left
            left -= 1
            loop.call_soon(again) if left else loop.stop()

        loop.call_soon(again)
        return cpu_ns(loop.run_forever) / n

    def queue(n):
        loop = new_event_loop()

        def body():
            for _ in range(n):
                loop.call_soon(int)
            loop.call_soon(loop.stop)
            loop.run_forever()

        return cpu_ns(body) / n

    async def switcher(turns):
        for _ in range(turns):
            await asyncio.sleep(0)

    async def switches(tasks, n):
        for task in [asyncio.create_task(switcher(n // tasks)) for _ in range(tasks)]:
            await task

    async def nested(depth):
        return 1 if depth == 1 else await nested(depth - 1) + 1

    async def chains(n):
        for _ in range(n // 10):
            await nested(10)

    async def child(i):
        return i

    async def create(n):
        for _ in range(n // 1000):
            for task in [asyncio.create_task(child(i)) for i in range(1000)]:
                await task

    async def gather(n):
        for _ in range(n // 1000):
            await asyncio.gather(*[asyncio.create_task(child(i)) for i in range(1000)])

    async def sleeper():
        await asyncio.sleep(1)

    async def sleepers(n):
        before = resident_bytes()
        tasks = [asyncio.create_task(sleeper()) for _ in range(n)]
        await asyncio.sleep(0)
        size = resident_bytes() - before
        for task in tasks:
            await task
        return size

    def timers(n):
        loop = new_event_loop()
        delays = [random.uniform(100, 1100) for _ in range(n)]
        order = random.sample(range(n), n)

        def body():
            handles = [loop.call_later(delay, int) for delay in delays]
            for i in order:
                handles[i].cancel()
            loop.call_soon(loop.stop)
            loop.run_forever()

        return cpu_ns(body) / n

    def lateness(n):
        loop = new_event_loop()
        late = []

        def fired(when):
            late.append(time.monotonic() - when)
            if len(late) == n:
                loop.stop()

        start = loop.time()
        shift = time.monotonic() - start
        for _ in range(n):
            when = start + random.uniform(0.05, 1.05)
            loop.call_at(when, fired, when + shift)
        loop.run_forever()
        return sorted(late)

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data)

        def connection_lost(self, exc):
            os._exit(0)

    async def echo_protocol(listener):
        server = await asyncio.get_running_loop().create_server(Echo, sock=listener)
        await server.serve_forever()

    async def echo_stream(reader, writer):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        os._exit(0)

    async def echo_streams(listener):
        server = await asyncio.start_server(echo_stream, sock=listener)
        await server.serve_forever()

    async def echo_socket(connection):
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(connection, 4096):
            await loop.sock_sendall(connection, data)
        os._exit(0)

    async def echo_sock(listener):
        loop, tasks = asyncio.get_running_loop(), set()
        while True:
            connection, _ = await loop.sock_accept(listener)
            tasks.add(asyncio.create_task(echo_socket(connection)))

    def served(server):
        def serve(fd):
            listener = socket.socket(fileno=fd)
            listener.setblocking(False)
            return run(server(listener))
        return serve, 0

    return {
        "call_soon": (reschedule, 100_000),
        "queue": (queue, 1_000_000),
        "switch": (lambda n: run(switches(2, n)) / n, 100_000),
        "switch1000": (lambda n: run(switches(1000, n)) / n, 100_000),
        "await": (lambda n: run(chains(n)) / n, 200_000),
        "create_task": (lambda n: run(create(n)) / n, 50_000),
        "gather": (lambda n: run(gather(n)) / n, 50_000),
        "sleep_bytes": (lambda n: new_event_loop().run_until_complete(sleepers(n)) / n, 100_000),
        "sleep_ns": (lambda n: run(sleepers(n)) / n, 100_000),
        "timers": (timers, 200_000),
        "late_median": (lambda n: 1e6 * lateness(n)[n // 2], 10_000),
        "late_p99": (lambda n: 1e6 * lateness(n)[n * 99 // 100], 10_000),
        "late_early": (lambda n: sum(seconds < 0 for seconds in lateness(n)), 10_000),
        "echo_protocol": served(echo_protocol),
        "echo_streams": served(echo_streams),
        "echo_sock": served(echo_sock),
    }


def gevent_rows():
    """Greenlets: their switch is a call, their sockets wait as sock_recv does."""
    import gevent
    import gevent.socket

    def switcher(turns):
        for _ in range(turns):
            gevent.sleep(0)

    def switches(tasks, n):
        return cpu_ns(lambda: gevent.joinall([gevent.spawn(switcher, n // tasks) for _ in range(tasks)])) / n

    def create(n):
        def body():
            for _ in range(n // 1000):
                gevent.joinall([gevent.spawn(int) for _ in range(1000)])
        return cpu_ns(body) / n

    def echo_connection(connection):
        while data := connection.recv(4096):
            connection.sendall(data)
        os._exit(0)

    def echo(fd):
        listener = gevent.socket.socket(fileno=fd)
        while True:
            gevent.spawn(echo_connection, listener.accept()[0])

    return {
        "switch": (lambda n: switches(2, n), 100_000),
        "switch1000": (lambda n: switches(1000, n), 100_000),
        "create_task": (create, 50_000),
        "gather": (create, 50_000),
        "echo_streams": (echo, 0),
        "echo_sock": (echo, 0),
    }


rows = gevent_rows() if PEER == "gevent" else asyncio_rows()
if ARGUMENTS:
    measure, operations = rows[ARGUMENTS[0]]
    print(f"{measure(int(ARGUMENTS[1]) if len(ARGUMENTS) > 1 else operations):.3f}")
else:
    print(PEER, *rows, sep="\n")
