# Callbacks on `selectors` alone: the selector tells which descriptors are ready, and carries for each what to call.
# Look at the loop at the end: that is all there is to an event loop without timers. Then at on_readable: it computes in
# the loop's thread, so a slow request stops everybody.
import selectors

from fib import Lines, answer, create_server, end_on_signals, port_argument

selector = selectors.DefaultSelector()


class Client:
    def __init__(self, sock):
        self.sock = sock
        self.lines = Lines()
        self.out = b""  # what could not be sent yet: meanwhile nothing is read
        selector.register(sock, selectors.EVENT_READ, self.on_readable)

    def close(self):
        selector.unregister(self.sock)
        self.sock.close()

    def on_writable(self):
        try:
            n = self.sock.send(self.out)
        except BlockingIOError:
            return
        except OSError:
            return self.close()
        self.out = self.out[n:]
        if not self.out:
            selector.modify(self.sock, selectors.EVENT_READ, self.on_readable)

    def on_readable(self):
        try:
            data = self.sock.recv(4096)
        except OSError:
            data = b""
        if not data:
            return self.close()
        self.lines.feed(data)
        while (line := self.lines.next()) is not None:
            self.out += answer(line)
        if self.out:
            selector.modify(self.sock, selectors.EVENT_WRITE, self.on_writable)


def on_connect():
    try:
        client, _ = server.accept()
    except OSError:
        return
    client.setblocking(False)
    Client(client)


end_on_signals()
server = create_server(port_argument(), blocking=False)
selector.register(server, selectors.EVENT_READ, on_connect)
while True:
    for key, events in selector.select():
        key.data()
