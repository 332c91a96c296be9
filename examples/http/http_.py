# As much of HTTP as these servers need: http.hpp's twin. (A module named `http` would hide the standard library's.)
# The first half touches no socket: bytes in, requests out, answers as bytes.
# Look at Requests.next: whatever a stranger sends, there is a bound to it.
import asyncio
import os
import re
import signal
from dataclasses import dataclass

MAX_HEAD, MAX_BODY = 8 * 1024, 1024 * 1024
MAX_SILENCE = 15  # seconds


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


def response(status, type, body, keep_alive):
    connection = "keep-alive" if keep_alive else "close"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: {connection}\r\n\r\n{body}".encode()


def error_response(error):
    return response(str(error), "text/plain", f"{error}\n", False)


# The second half: the same conversation for all servers that stand on the loop. `respond` is what they differ in: a
# coroutine that makes the body of the answer.


async def hear_out(reader):
    """Who closes while the client still talks resets the connection, and the answer may be lost."""
    while await reader.read(65536):
        continue


async def serve_client(respond, reader, writer, type):
    try:
        requests = Requests()
        keep_alive = True
        while keep_alive:
            try:
                while not (request := requests.next()):
                    data = await asyncio.wait_for(reader.read(65536), MAX_SILENCE)
                    if not data:
                        return  # the client has left
                    requests.feed(data)
                keep_alive = request.keep_alive
                body = await respond(request)
                writer.write(response("200 OK", type, body, keep_alive))
            except Error as error:
                writer.write(error_response(error))
                keep_alive = False
            await writer.drain()
        writer.write_eof()
        await asyncio.wait_for(hear_out(reader), 1)
    except (OSError, asyncio.TimeoutError):
        pass  # the client broke the connection, or says nothing
    except asyncio.CancelledError:
        pass  # the server ends
    finally:
        writer.close()


async def serve(respond, port, type="text/plain", reuse_port=False):
    """Serves until Ctrl-C."""
    stop = asyncio.Event()
    for signum in signal.SIGINT, signal.SIGTERM:
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)

    async def client_connected(reader, writer):
        await serve_client(respond, reader, writer, type)

    server = await asyncio.start_server(client_connected, "127.0.0.1", port, reuse_port=reuse_port)
    host, port = server.sockets[0].getsockname()
    print(f"serving http://{host}:{port}/ (process {os.getpid()})", flush=True)
    await stop.wait()
    server.close()
