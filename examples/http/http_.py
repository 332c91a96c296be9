# As much of HTTP as these servers need: http.hpp's twin. (A module named `http` would hide the standard library's.)
# The first half touches no socket: bytes in, requests out, answers as bytes.
# Look at Requests.next: whatever a stranger sends, there is a bound to it.
import asyncio
import os
import re
import sys
from dataclasses import dataclass

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import program

PORT = 8000
MAX_HEAD, MAX_BODY = 8 * 1024, 1024 * 1024


@dataclass
class Request:
    method: str
    target: str
    keep_alive: bool = False
    content_length: int = 0


class Error(Exception):
    """What the client gets in place of an answer; the connection ends with it."""


BAD_REQUEST = "400 Bad Request"


def is_token(text):
    """A method or the name of a header."""
    return re.fullmatch(r"[A-Za-z0-9_.-]+", text)


def parse_length(value):
    if not re.fullmatch(r"[0-9]+", value):
        raise Error(BAD_REQUEST)
    if len(value) > 9 or int(value) > MAX_BODY:
        raise Error("413 Content Too Large")
    return int(value)


def parse_head(head):
    first, *lines = head.decode("latin-1").replace("\r\n", "\n").rstrip("\n").split("\n")
    method, _, rest = first.partition(" ")
    target, _, version = rest.partition(" ")
    if not is_token(method) or not target or version not in ("HTTP/1.0", "HTTP/1.1"):
        raise Error(BAD_REQUEST)
    request = Request(method, target, keep_alive=version == "HTTP/1.1")
    for line in lines:
        name, colon, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t").lower()
        if not colon or not is_token(name):
            raise Error(BAD_REQUEST)
        if name == "connection":
            request.keep_alive = value == "keep-alive" or (request.keep_alive and value != "close")
        if name == "content-length":
            request.content_length = parse_length(value)
        if name == "transfer-encoding":
            raise Error("501 Not Implemented")
    return request


class Requests:
    """Feed it what arrives, and take requests out."""

    def __init__(self):
        self.buffer = b""
        self.body = 0  # what is still to come of the last request's body

    def feed(self, data):
        self.buffer += data

    def next(self):
        """The next one, once its head is complete; its body is dropped. Error if it is none, or too large."""
        dropped = min(self.body, len(self.buffer))
        self.buffer = self.buffer[dropped:]
        self.body -= dropped
        blank = re.search(rb"\n\r?\n", self.buffer)
        if (blank.end() if blank else len(self.buffer)) > MAX_HEAD:
            raise Error("431 Request Header Fields Too Large")
        if not blank:
            return None
        request = parse_head(self.buffer[: blank.end()])
        self.buffer = self.buffer[blank.end() :]
        self.body = request.content_length
        return request


def response(request, status, type, body):
    """The answer to a request; HEAD asks for the head of one only. What is no request, None, is answered in full."""
    connection = "keep-alive" if request and request.keep_alive else "close"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: {connection}\r\n\r\n{'' if request and request.method == 'HEAD' else body}".encode()


def error_response(request, error):
    """Ends the connection."""
    if request:
        request.keep_alive = False
    return response(request, str(error), "text/plain", f"{error}\n")


# The second half: the same conversation for all servers that stand on the loop. `respond` is what they differ in: a
# coroutine that makes the body of the answer.


async def read_request(requests, reader):
    """The next request; None: the client has left."""
    while not (request := requests.next()):
        data = await reader.read(65536)
        if not data:
            return None
        requests.feed(data)
    return request


async def hear_out(reader):
    """Who closes while the client still talks resets the connection, and the answer may be lost: let the client finish,
    for a second."""
    try:
        async with asyncio.timeout(1):
            while await reader.read(65536):
                continue
    except TimeoutError:
        pass  # he has had his time


async def serve_client(respond, reader, writer, type, patience):
    try:
        requests = Requests()
        keep_alive = True
        while keep_alive:
            request = None
            try:
                request = await asyncio.wait_for(read_request(requests, reader), patience)
                if not request:
                    break  # the client has left
                body = await respond(request)
                writer.write(response(request, "200 OK", type, body))
            except Error as error:
                writer.write(error_response(request, error))
            keep_alive = request and request.keep_alive
            await asyncio.wait_for(writer.drain(), patience)
        writer.write_eof()
        await hear_out(reader)
        writer.close()
        await asyncio.wait_for(writer.wait_closed(), patience)  # all is sent
    except asyncio.TimeoutError:
        writer.transport.abort()
    except OSError:
        pass  # the client broke the connection
    except asyncio.CancelledError:
        pass  # the server ends
    finally:
        writer.close()


async def serve(respond, port, type="text/plain", reuse_port=False, patience=15):
    """Serves until Ctrl-C. `patience`: seconds that a client may take to ask, and to take in the answer."""
    stop = asyncio.Event()

    async def client_connected(reader, writer):
        await serve_client(respond, reader, writer, type, patience)

    server = await asyncio.start_server(client_connected, "127.0.0.1", port, reuse_port=reuse_port)
    program.stop_on_signals(asyncio.get_running_loop(), stop.set)
    program.report_once(asyncio.get_running_loop())
    host, port = server.sockets[0].getsockname()
    print(f"serving http://{host}:{port}/ (process {os.getpid()})", flush=True)
    await stop.wait()
    server.close()


def serve_until_signal(respond):
    """The program of a server that differs in nothing but `respond`."""

    def body(arguments):
        asyncio.run(serve(respond, arguments.port(PORT), patience=arguments.number(1, 15, 1, 3600)))

    program.run("[PORT [PATIENCE]]", body)
