# The same, and a few threads that compute: a slow request stops nobody.
# Look at the way back: a thread may not resume a coroutine of the loop's, so it queues which one and writes a byte into
# a pipe, and the loop reads the pipe as it reads a client.
import collections
import os
import selectors
import types
from concurrent.futures import ThreadPoolExecutor

from fib import PORT, Lines, answer, create_server, program

selector = selectors.DefaultSelector()
paused = []  # who waits for a second, because no descriptor is left for a client
pool = ThreadPoolExecutor(4)
answered = collections.deque()
read_end, write_end = os.pipe()


@types.coroutine
def ready(sock, events):
    yield lambda coroutine: selector.register(sock, events, coroutine)
    selector.unregister(sock)


@types.coroutine
def pause():
    yield paused.append


@types.coroutine
def run_in_thread(function, *args):
    def submit(coroutine):
        def done(_):
            answered.append(coroutine)
            os.write(write_end, b"x")

        nonlocal future
        future = pool.submit(function, *args)
        future.add_done_callback(done)

    future = None
    yield submit
    return future.result()


# Runs a coroutine until it waits: what it yields says for whom.
def resume(coroutine):
    try:
        wait = coroutine.send(None)
    except StopIteration:
        return
    wait(coroutine)


async def resume_answered():
    while True:
        await ready(read_end, selectors.EVENT_READ)
        for _ in os.read(read_end, 4096):
            resume(answered.popleft())


async def serve(client):
    lines = Lines()
    try:
        while True:
            await ready(client, selectors.EVENT_READ)
            data = client.recv(4096)
            if not data:
                break
            lines.feed(data)
            while (line := lines.next()) is not None:
                out = await run_in_thread(answer, line)
                while out:
                    await ready(client, selectors.EVENT_WRITE)
                    out = out[client.send(out) :]
    except OSError:
        pass
    client.close()


async def accept_clients(server):
    while True:
        await ready(server, selectors.EVENT_READ)
        try:
            client, _ = server.accept()
        except OSError as error:
            if program.out_of_descriptors(error):
                await pause()
            continue
        client.setblocking(False)
        resume(serve(client))


def serve_clients(arguments):
    program.end_on_signals()
    resume(resume_answered())
    resume(accept_clients(create_server(arguments.port(PORT), blocking=False)))
    while True:
        resting = paused.pop() if paused else None
        for key, events in selector.select(1 if resting else None):
            resume(key.data)
        if resting:
            resume(resting)


program.run("[PORT]", serve_clients)
