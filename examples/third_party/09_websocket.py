# The library that Python's users use: websockets, whose protocol has no I/O of its own either.
# Look at show_their_ping: nothing here answers the ping; websockets reads in a task of its own.
import asyncio

import common
import websockets
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatusCode


def connect(port, path):
    return websockets.connect(f"ws://127.0.0.1:{port}{path}", compression=None)


async def ending(awaitable):
    """How it ends: the error's name and its code."""
    try:
        await awaitable
        return "none"
    except ConnectionClosed as error:
        said = error.rcvd or error.sent
        kind = "ConnectionClosedOK" if isinstance(error, ConnectionClosedOK) else "ConnectionClosedError"
        return f"{kind} {said.code if said else 1006}"
    except InvalidStatusCode as error:
        return f"InvalidStatusCode {error.status_code}"


async def show_messages(port):
    async with connect(port, "/echo") as socket:
        await socket.send("hello")
        hello = await socket.recv()
        await socket.send("x" * 900_000)
        print(f"{hello}, and {len(await socket.recv())} bytes")
        nothing = await common.error_of(asyncio.wait_for(socket.recv(), 0.05))
        await socket.send("late")
        print(f"no message: {nothing}; then: {await socket.recv()}")
        await (await socket.ping())
        print("pong")
        await socket.close()
        print("after close:", await ending(socket.recv()))


async def show_their_ping(port):
    """Their ping is answered while we wait for something else."""
    async with connect(port, "/ping") as socket:
        print("pinged:", await socket.recv())


async def how_it_ends(port, path):
    async with connect(port, path) as socket:
        return await socket.recv()


async def show_ends(port):
    for path in "/farewell", "/cut", "/bad-frame", "/secret":
        print(f"{path}: {await ending(how_it_ends(port, path))}")


async def demonstrate(port):
    await show_messages(port)
    await show_their_ping(port)
    await show_ends(port)


async def measure(port):
    async with connect(port, "/echo") as socket:
        stopwatch = common.Stopwatch()
        for _ in range(2000):
            await socket.send("a short message")
            await socket.recv()
        stopwatch.report("messages", 2000)


asyncio.run(measure(common.PORT) if common.MODE == "bench" else demonstrate(common.PORT))
