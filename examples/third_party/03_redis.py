# A library that brings its own asyncio client: redis.asyncio. How it uses the loop is written in its Connection.
# Look at show_timeouts: what this library does with a connection whose reply nobody waited for.
import asyncio

import common
import redis.asyncio
from redis.exceptions import ResponseError


def client_of(port):
    return redis.asyncio.Redis(port=port, decode_responses=True, single_connection_client=True)


def text_of(reply):
    if isinstance(reply, list):
        return " ".join(reply)
    return "nil" if reply is None else str(reply)


async def show(client, line):
    try:
        # Without its conversions, such as that of OK to True.
        await client.connection.send_command(*line.split(" "))
        answer = text_of(await client.connection.read_response())
    except ResponseError as error:
        answer = str(error) if str(error).startswith("WRONGTYPE") else f"ERR {error}"
    print(f"{line}: {answer}")


async def show_commands(port):
    async with client_of(port) as client:
        for line in ("SET name Ada", "GET name", "GET missing", "DEL list count", "RPUSH list a b c",
                     "LRANGE list 0 -1", "INCR name", "LPUSH name x", "INCRBY count 42"):
            await show(client, line)


async def show_timeouts(port):
    """BLPOP waits in the server. Its own limit ends it there; ours only ends our waiting; then
    redis.asyncio closes the connection, so that nobody takes the late reply for his own, and connects again for PING."""
    async with client_of(port) as client:
        await show(client, "BLPOP nothing 0.1")
        error = await common.error_of(asyncio.wait_for(client.blpop("nothing", 0.3), 0.05))
        print(f"BLPOP, and nobody waits so long: {error}")
        await show(client, "PING")


async def show_refused():
    client = redis.asyncio.Redis(port=1)  # nobody listens there
    print(f"refused: {await common.error_of(client.ping())}")


async def demonstrate(port):
    await show_commands(port)
    await show_timeouts(port)
    await show_refused()


COMMANDS = 10000


async def measure(port):
    async with client_of(port) as client:
        await client.set("key", "x" * 100)
        one_by_one = common.Stopwatch()
        for _ in range(COMMANDS):
            await client.get("key")
        one_by_one.report("GET one by one", COMMANDS)
        pipelined = common.Stopwatch()
        async with client.pipeline(transaction=False) as pipeline:
            for _ in range(COMMANDS):
                pipeline.get("key")
            await pipeline.execute()
        pipelined.report("GET pipelined", COMMANDS)


asyncio.run(measure(common.PORT) if common.MODE == "bench" else demonstrate(common.PORT))
