# The client that Python's users use: aiohttp, HTTP in Python over a Protocol of asyncio's.
# Look at show_cancelled: a request that nobody waits for any more closes its connection here, too.
import asyncio

import aiohttp
import common


def url(port, path):
    return f"http://127.0.0.1:{port}{path}"


async def get(session, target):
    async with session.get(target, max_redirects=5) as response:
        return response.status, await response.read()


async def outcome(transfer):
    try:
        status, body = await transfer
        return f"{status}, {len(body)} bytes"
    except aiohttp.ClientConnectorError:
        return "refused"
    except aiohttp.ClientPayloadError:
        return "cut off"
    except aiohttp.TooManyRedirects:
        return "too many redirects"
    except asyncio.TimeoutError:
        return "TimeoutError"


async def show(what, transfer):
    print(f"{what}: {await outcome(transfer)}")


class StandIn:
    """Sends the same answer to whatever is asked. `hang_up`: and closes; otherwise it counts who hangs up."""

    def __init__(self, answer, hang_up):
        self.answer, self.hang_up, self.ended = answer, hang_up, 0

    async def serve(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer)
        if self.hang_up:
            writer.close()
        else:
            await reader.read()
            self.ended += 1

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]


async def show_together(session, port):
    loop = asyncio.get_running_loop()
    start = loop.time()
    outcomes = set(await asyncio.gather(*[outcome(get(session, url(port, "/"))) for _ in range(50)]))  # each takes 0.1 s
    passed = loop.time() - start
    print(f"50 pages: {len(outcomes)} outcome, {min(outcomes)}; together: {passed < 2.5:d}")


async def show_failures(session):
    await show("nobody listens", get(session, url(1, "/")))
    cut = StandIn(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", True)
    circle = StandIn(b"HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", True)
    await show("an answer that breaks off", get(session, url(await cut.start(), "/")))
    await show("a redirect to itself", get(session, url(await circle.start(), "/")))
    cut.server.close()
    circle.server.close()


async def show_cancelled(session, port):
    """The answer never comes. The server sees the connection end when we give up, and others go on."""
    silent = StandIn(b"", False)
    target = url(await silent.start(), "/")
    await show("no answer", asyncio.wait_for(get(session, target), 0.1))
    for _ in range(100):
        if silent.ended == 0:
            await asyncio.sleep(0.01)
    print(f"connections that the server saw end: {silent.ended}")
    silent.server.close()
    await show("and another page", get(session, url(port, "/quick")))


async def demonstrate(port):
    async with aiohttp.ClientSession() as session:
        await show("a page", get(session, url(port, "/quick")))
        await show_together(session, port)
        await show_failures(session)
        await show_cancelled(session, port)


async def measure(port):
    async def get_many(count):
        for _ in range(count):
            await get(session, url(port, "/quick"))

    async with aiohttp.ClientSession() as session:
        one_by_one = common.Stopwatch()
        await get_many(1000)
        one_by_one.report("GET", 1000)
        together = common.Stopwatch()
        await asyncio.gather(*[get_many(100) for _ in range(20)])
        together.report("GET on 20 connections", 2000)


asyncio.run(measure(common.PORT) if common.MODE == "bench" else demonstrate(common.PORT))
