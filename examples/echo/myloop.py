# An event loop from scratch, for sockets only: a selector, and coroutines that go on when their operation is done.
# There is no future, no task, no callback: what a coroutine yields is what it waits for. So nobody can wait for two
# things, nobody can be cancelled, and the only timer is a pause.
import selectors
import types

selector = selectors.DefaultSelector()

paused = []  # who waits for a second at most


@types.coroutine
def wait_until_ready(sock, events):
    yield lambda coroutine: selector.register(sock, events, coroutine)


@types.coroutine
def pause():
    yield paused.append


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
        wait = coroutine.send(None)
    except StopIteration:
        return
    wait(coroutine)


def run_forever():
    while True:
        resting = paused.pop() if paused else None
        for key, events in selector.select(1 if resting else None):
            selector.unregister(key.fileobj)
            start(key.data)
        if resting:
            start(resting)
