# Callbacks on `selectors` alone: the selector tells which descriptors are ready, and carries for each what to call.
# Look at serve_clients: that is all there is to an event loop, but for timers. Then at on_readable: it computes in
# the loop's thread, so a slow request stops everybody.
import selectors

from fib import PORT, Lines, answer, create_server, program

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


class Server:
    def __init__(self, sock):
        self.sock = sock
        self.listen()

    def listen(self):
        self.paused = False  # True while no descriptor is left for a client
        selector.register(self.sock, selectors.EVENT_READ, self.on_connect)

    def on_connect(self):
        try:
            client, _ = self.sock.accept()
        except OSError as error:
            if program.out_of_descriptors(error):
                selector.unregister(self.sock)
                self.paused = True
            return
        client.setblocking(False)
        Client(client)


def serve_clients(arguments):
    program.end_on_signals()
    server = Server(create_server(arguments.port(PORT), blocking=False))
    while True:
        resting = server.paused
        for key, events in selector.select(1 if resting else None):
            key.data()
        if resting:
            server.listen()


program.run("[PORT]", serve_clients)
