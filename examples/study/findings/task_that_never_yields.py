# Broken on purpose: a task computes, and awaits only what does not wait. The ticker starts when it is over.
import asyncio
import time


async def following(n):  # awaiting it suspends nobody
    return n + 1


async def count():
    end = time.monotonic() + 0.15
    n = 0
    while time.monotonic() < end:
        n = await following(n)
    print("counted")


async def tick():
    await asyncio.sleep(0.01)
    print("tick, at last")


async def tour():
    counter = asyncio.create_task(count())
    ticker = asyncio.create_task(tick())
    await counter
    await ticker


asyncio.run(tour())
