# Coroutines, and a loop of their own in a few lines: the text of serve() is that of fibservsync with an await where it
# would block. Look at ready: the selector's `data` is the coroutine that waits, and the loop resumes it.
import selectors
import types

from fib import PORT, Lines, answer, create_server, program

selector = selectors.DefaultSelector()
paused = []  # who waits for a second, because no descriptor is left for a client


@types.coroutine
def ready(sock, events):
    yield lambda coroutine: selector.register(sock, events, coroutine)
    selector.unregister(sock)


@types.coroutine
def pause():
    yield paused.append


# Runs a coroutine until it waits: what it yields says for what.
def resume(coroutine):
    try:
        wait = coroutine.send(None)
    except StopIteration:
        return
    wait(coroutine)


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
                out = answer(line)
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
    resume(accept_clients(create_server(arguments.port(PORT), blocking=False)))
    while True:
        resting = paused.pop() if paused else None
        for key, events in selector.select(1 if resting else None):
            resume(key.data)
        if resting:
            resume(resting)


program.run("[PORT]", serve_clients)
