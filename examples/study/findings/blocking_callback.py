# Broken on purpose: a coroutine waits with a call that blocks the thread, and the ticker misses its ticks.
import asyncio
import time


async def tick():
    for n in range(1, 4):
        await asyncio.sleep(0.05)
        print(f"tick {n}")


async def tour():
    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0.06)
    time.sleep(0.15)  # instead of await asyncio.sleep(0.15)
    print("blocked, and nobody ticked")
    await ticker


asyncio.run(tour())
