# fibservcb on asyncio's loop: add_reader and add_writer are register and modify.
# Look at what is gone, the loop in serve_clients, and at what is not: on_readable computes, and the loop stands still.
import asyncio

from fib import PORT, Lines, answer, create_server, program


class Client:
    def __init__(self, loop, sock):
        self.loop = loop
        self.sock = sock
        self.lines = Lines()
        self.out = b""  # what could not be sent yet: meanwhile nothing is read
        loop.add_reader(sock, self.on_readable)

    def on_writable(self):
        try:
            n = self.sock.send(self.out)
        except BlockingIOError:
            return
        except OSError:
            self.loop.remove_writer(self.sock)
            return self.sock.close()
        self.out = self.out[n:]
        if not self.out:
            self.loop.remove_writer(self.sock)
            self.loop.add_reader(self.sock, self.on_readable)

    def on_readable(self):
        try:
            data = self.sock.recv(4096)
        except OSError:
            data = b""
        if not data:
            self.loop.remove_reader(self.sock)
            return self.sock.close()
        self.lines.feed(data)
        while (line := self.lines.next()) is not None:
            self.out += answer(line)
        if self.out:
            self.loop.remove_reader(self.sock)
            self.loop.add_writer(self.sock, self.on_writable)


def on_connect(loop, server):
    try:
        client, _ = server.accept()
    except OSError as error:
        if program.out_of_descriptors(error):
            loop.remove_reader(server)
            loop.call_later(1, lambda: loop.add_reader(server, on_connect, loop, server))
        return
    client.setblocking(False)
    Client(loop, client)


def serve_clients(arguments):
    loop = asyncio.new_event_loop()
    server = create_server(arguments.port(PORT), blocking=False)
    program.stop_on_signals(loop, loop.stop)
    loop.add_reader(server, on_connect, loop, server)
    loop.run_forever()
    loop.close()
    server.close()


program.run("[PORT]", serve_clients)
