# What the echo servers share: a listening socket, and words about what happens. The twin of echo.hpp.
import os
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import program

USAGE = "[PORT [quiet]]"
PORT = 50000
quiet = False  # True while messages are counted


def create_server(port, blocking=False):
    server = socket.create_server(("127.0.0.1", port), backlog=1024)
    server.setblocking(blocking)
    print("serving on %s:%d" % server.getsockname(), flush=True)
    return server


def say(what, data=b""):
    if quiet:
        return
    text = f"{what}{data.decode(errors='backslashreplace')}"
    print(text, end="" if text.endswith("\n") else "\n", flush=True)


def serve_with(serve):
    """The program: serve(port), quietly if asked to."""

    def body(arguments):
        global quiet
        quiet = arguments.given(1)
        serve(arguments.port(PORT))

    program.run(USAGE, body)
