# An event loop from scratch, for sockets only: a selector, and coroutines that go on when their operation is done.
# There is no future, no task, no callback: what a coroutine yields is what it waits for. So nobody can wait for two
# things, nobody can be cancelled, and there are no timers.
import selectors
import types

selector = selectors.DefaultSelector()


@types.coroutine
def wait_until_ready(sock, events):
    yield sock, events


async def sock_recv(sock, n):
    while True:
        try:
            return sock.recv(n)
        except BlockingIOError:
            await wait_until_ready(sock, selectors.EVENT_READ)


async def sock_sendall(sock, data):
    while data:
        try:
            data = data[sock.send(data):]
        except BlockingIOError:
            await wait_until_ready(sock, selectors.EVENT_WRITE)


async def sock_accept(sock):
    while True:
        try:
            return sock.accept()
        except BlockingIOError:
            await wait_until_ready(sock, selectors.EVENT_READ)


def start(coroutine):
    """Runs it to what it waits for; on_ready goes on from there."""
    try:
        sock, events = coroutine.send(None)
    except StopIteration:
        return
    selector.register(sock, events, coroutine)


def run_forever():
    while True:
        for key, events in selector.select():
            selector.unregister(key.fileobj)
            start(key.data)
