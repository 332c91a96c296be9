# What these servers and clients share: the protocol, a line with a number in and a line with fib(number) out, and the
# few socket calls that do not differ between them. The twin of fib.hpp.
import os
import re
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import program

PORT, MAX_NUMBER = 25000, 45
MAX_LINE = 100


def fib(n):
    """As slow as can be: that is what it is for."""
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def parse(line):
    if len(line) > MAX_LINE:
        raise ValueError("the line is too long")
    line = line.rstrip(b" \t\r\n")
    if not re.fullmatch(rb"-?[0-9]+", line):
        raise ValueError("not a number")
    if line.startswith(b"-"):
        raise ValueError("negative")
    if len(line) > 9 or int(line) > MAX_NUMBER:
        raise ValueError("too large")
    return int(line)


def answer(line):
    """The line that answers a line; a bad one is told so, and may try again."""
    try:
        return b"%d\n" % fib(parse(line))
    except ValueError as error:
        return b"error: %s\n" % str(error).encode()


class Lines:
    """Feed it what arrives, and take lines out. Of one that is too long it keeps only so much that parse() can tell."""

    def __init__(self):
        self.buffer = b""

    def feed(self, data):
        self.buffer += data

    def next(self):
        line, newline, rest = self.buffer.partition(b"\n")
        if not newline:
            self.buffer = self.buffer[: MAX_LINE + 1]
            return None
        self.buffer = rest
        return line


def create_server(port, blocking):
    """A socket that listens, and says so."""
    server = socket.create_server(("127.0.0.1", port), backlog=100)
    server.setblocking(blocking)
    print("serving: nc 127.0.0.1", server.getsockname()[1], flush=True)
    return server


def accept(server):
    """Waits for a client."""
    while True:
        try:
            return server.accept()[0]
        except OSError as error:
            if program.out_of_descriptors(error):
                time.sleep(1)


def ask(sock, line):
    """A client's question, on a socket that blocks. False if the server has gone."""
    try:
        sock.sendall(b"%d\n" % line)
        while data := sock.recv(100):
            if data.endswith(b"\n"):
                return True
    except OSError:
        pass
    return False
