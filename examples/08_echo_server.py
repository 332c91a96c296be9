# An echo server out of callbacks: add_reader for who may speak, add_writer for who is slow to listen.
# Look at Connection: it reads or it writes, never both, so a client that does not listen fills no memory.
# Without an argument it talks to itself; `08_echo_server.py 50007` serves `nc 127.0.0.1 50007` until Ctrl-C.
import asyncio
import socket
import threading

import program


class Connection:
    def __init__(self, loop, sock):
        self.loop = loop
        self.sock = sock
        self.buffer = b""

    def start_reading(self):
        self.loop.add_reader(self.sock, self.on_readable)

    def on_readable(self):
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.loop.remove_reader(self.sock)
        if not data:
            return self.sock.close()  # the client says no more, and all it said was sent back
        self.buffer = data
        self.loop.add_writer(self.sock, self.on_writable)

    def on_writable(self):
        try:
            n = self.sock.send(self.buffer)
        except BlockingIOError:
            return
        except OSError:
            self.loop.remove_writer(self.sock)
            return self.sock.close()
        self.buffer = self.buffer[n:]
        if self.buffer:
            return  # the kernel took a part: the rest when it has room again
        self.loop.remove_writer(self.sock)
        self.start_reading()


def on_connect(loop, server):
    try:
        sock, address = server.accept()
        sock.setblocking(False)
        Connection(loop, sock).start_reading()
    except OSError as error:
        if program.out_of_descriptors(error):  # look again in a second, and do not spin till then
            loop.remove_reader(server)
            loop.call_later(1, lambda: loop.add_reader(server, on_connect, loop, server))


def create_server(port):
    server = socket.create_server(("127.0.0.1", port), backlog=1024)
    server.setblocking(False)
    return server


def port_of(server):
    return server.getsockname()[1]


# The client is an ordinary blocking program, as nc is, in a thread of its own.
def create_connection(port):
    return socket.create_connection(("127.0.0.1", port))


def hear(sock):
    return sock.recv(100).decode()


def say(name, sock, text):
    sock.send(text.encode())
    print(f'{name} says "{text}" and hears "{hear(sock)}"')


def converse(loop, port):
    first, second = create_connection(port), create_connection(port)
    say("first", first, "hello")
    say("second", second, "is anybody there?")
    say("first", first, "hello again")
    first.shutdown(socket.SHUT_WR)
    print(f'first says no more, and hears the end: "{hear(first)}"')
    say("second", second, "so there are only two of us")
    first.close()
    second.close()
    loop.call_soon_threadsafe(loop.stop)


def serve_clients(arguments):
    loop = asyncio.new_event_loop()
    server = create_server(arguments.port(0))
    loop.add_reader(server, on_connect, loop, server)
    program.stop_on_signals(loop, loop.stop)
    client = None
    if arguments.given(0):
        print(f"serving: nc 127.0.0.1 {port_of(server)}", flush=True)
    else:
        client = threading.Thread(target=converse, args=(loop, port_of(server)))
        client.start()

    loop.run_forever()
    if client:
        client.join()
    loop.close()
    server.close()


program.run("[PORT]", serve_clients)
