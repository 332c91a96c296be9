# The client that Python's users use: httpx, with h2, which does no I/O itself.
# Look at show_flow_control: httpx, too, lets the server send more of a body only while somebody reads it.
import asyncio

import common
import httpx


def client_of(port):
    return httpx.AsyncClient(http1=False, http2=True, base_url=f"http://127.0.0.1:{port}", trust_env=False)


async def fetch(client, path):
    response = await client.get(path)
    return f"{response.status_code}, {len(response.content)} bytes"


async def show(client, path):
    print(f"{path}: {await fetch(client, path)}")


async def show_together(client):
    outcomes = set(await asyncio.gather(*[fetch(client, "/hello.txt") for _ in range(100)]))
    print(f"100 at once: {len(outcomes)} outcome, {min(outcomes)}")


async def show_flow_control(client):
    """A large file that nobody reads stops at the end of its window. The others go on."""
    async with client.stream("GET", "/large.bin") as large:
        await show(client, "/hello.txt")
        print(f"and then the large one: {len(await large.aread())} bytes")


async def show_cancelled(client):
    """Nobody waits for the large file any more: its stream is reset, and the connection goes on."""

    async def read_a_part():
        async with client.stream("GET", "/large.bin"):
            await asyncio.sleep(60)

    print("given up:", await common.error_of(asyncio.wait_for(read_a_part(), 0.1)))
    await show(client, "/hello.txt")


async def demonstrate(port):
    async with client_of(port) as client:
        await show(client, "/hello.txt")
        print("/missing:", (await client.get("/missing")).status_code)
        await show_together(client)
        await show_flow_control(client)
    async with client_of(port) as client:
        await show_cancelled(client)


async def measure(port):
    async with client_of(port) as client:

        async def fetch_many(count):
            for _ in range(count):
                await fetch(client, "/hello.txt")

        one_by_one = common.Stopwatch()
        await fetch_many(300)
        one_by_one.report("GET", 300)
        together = common.Stopwatch()
        await asyncio.gather(*[fetch_many(12) for _ in range(50)])
        together.report("GET, 50 at a time", 600)


asyncio.run(measure(common.PORT) if common.MODE == "bench" else demonstrate(common.PORT))
