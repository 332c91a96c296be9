# A small web site to fetch from, and what its clients share: the list of URLs, a request, and the Journey of one URL
# through redirects to its end. The twin of site.hpp. (A module named `site` would hide the standard library's.)
# Look at Site.answer for the traps: slow pages, endless redirects, broken answers, a huge one.
import asyncio
import threading
from dataclasses import dataclass

MAX_ANSWER = 65536
MAX_REDIRECTS = 5

URLS = ["/"] + [f"/slow/{i}" for i in range(1, 6)]
URLS += ["/old", "/round", "/ever/1", "/missing", "/broken", "/garbage", "/silent", "/huge"]


def request(path):
    return f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()


@dataclass
class Answer:
    """What came back for one request."""

    problem: str = ""  # if it is none
    status: str = ""
    location: str = ""
    body: str = ""


def between(text, before, after):
    """The text between two others, "" if they are not there."""
    return text.partition(before)[2].partition(after)[0]


def parse(raw):
    if len(raw) > MAX_ANSWER:
        return Answer("too large")
    if not raw:
        return Answer("no answer")
    head, blank, body = raw.decode().partition("\r\n\r\n")
    if not head.startswith("HTTP/1.") or not blank:
        return Answer("not HTTP")
    head += "\r\n"
    length = between(head, "Content-Length: ", "\r\n")
    problem = f"broken off after {len(body)} of {length} bytes" if length != str(len(body)) else ""
    return Answer(problem, between(head, " ", " "), between(head, "Location: ", "\r\n"), body)


class Journey:
    """From a URL along its redirects to the end. Nothing in here waits: the clients differ in how they do."""

    def __init__(self, path):
        self.path = path  # the page to ask for next
        self.report = path
        self.redirects = 0

    def arrive(self, raw):
        """Takes in what came back; False: there is another page to ask for."""
        answer = parse(raw)
        if answer.problem:
            return self.end(answer.problem)
        if not answer.location:
            return self.end(f"{answer.status}, {len(answer.body)} bytes")
        self.redirects += 1
        if self.redirects > MAX_REDIRECTS:
            return self.end("too many redirects")
        self.path = answer.location
        self.report += f" -> {self.path}"
        return False

    def end(self, how):
        self.report += f": {how}"
        return True


class Site:
    """The site, in a thread of its own for the length of a `with`."""

    def __enter__(self):
        self.at_once = self.most_at_once = 0
        started = threading.Event()
        self.thread = threading.Thread(target=asyncio.run, args=(self.serve(started),))
        self.thread.start()
        started.wait()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join()

    async def serve(self, started):
        self.loop = asyncio.get_running_loop()
        self.stop = asyncio.Event()
        server = await asyncio.start_server(self.serve_client, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self.stop.wait()
        server.close()

    async def serve_client(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            text = await self.answer(between(head.decode(), " ", " "))
            writer.write(text.encode())
            await writer.drain()
        except (Exception, asyncio.CancelledError):
            pass  # the client has left, or sent something else, or the site ends
        finally:
            writer.close()

    async def answer(self, path):
        if path == "/":
            links = "/about /slow/1 /slow/2 /slow/3 /old /round /ever/1 /missing /broken /garbage /silent /huge"
            return page(*links.split(), "http://elsewhere.example/", "/about")
        if path == "/about":
            return page("/", "/about/us")
        if path == "/about/us":
            return page("/about")
        if path.startswith("/slow/"):
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            await asyncio.sleep(0.5)
            self.at_once -= 1
            return page(f"/slow/{min(int(path[6:]) + 1, 5)}")
        if path == "/old":
            return redirect("/about")
        if path == "/round":
            return redirect("/round/again")
        if path == "/round/again":
            return redirect("/round")
        if path.startswith("/ever/"):
            return redirect(f"/ever/{int(path[6:]) + 1}")
        if path == "/broken":
            return "HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\nthat was all, s"
        if path == "/garbage":
            return "I am not a web server\r\n\r\n"
        if path == "/silent":
            return ""
        if path == "/huge":
            return response("200 OK", "x" * (1 << 20))
        return response("404 Not Found", "there is no such page\n")


def response(status, body, header=""):
    return f"HTTP/1.0 {status}\r\n{header}Content-Length: {len(body)}\r\n\r\n{body}"


def redirect(path):
    return response("302 Found", "", f"Location: {path}\r\n")


def page(*links):
    return response("200 OK", "".join(f'<a href="{link}">{link}</a>\n' for link in links))
