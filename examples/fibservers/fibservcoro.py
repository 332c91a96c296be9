# Coroutines, and a loop of their own in a few lines: the text of serve() is that of fibservsync with an await where it
# would block. Look at ready: the selector's `data` is the coroutine that waits, and the loop resumes it.
import selectors
import types

from fib import Lines, answer, create_server, end_on_signals, port_argument

selector = selectors.DefaultSelector()


@types.coroutine
def ready(sock, events):
    yield sock, events
    selector.unregister(sock)


# Runs a coroutine until it waits.
def resume(coroutine):
    try:
        sock, events = coroutine.send(None)
    except StopIteration:
        return
    selector.register(sock, events, coroutine)


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
        client, _ = server.accept()
        client.setblocking(False)
        resume(serve(client))


end_on_signals()
resume(accept_clients(create_server(port_argument(), blocking=False)))
while True:
    for key, events in selector.select():
        resume(key.data)
