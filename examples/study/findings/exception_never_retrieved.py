# Broken on purpose: a task fails, and nobody asks it for its result.
import asyncio


async def send():
    await asyncio.sleep(0.01)
    raise RuntimeError("the line is dead")


async def tour():
    asyncio.create_task(send())  # nobody keeps it
    await asyncio.sleep(0.02)
    print("sent, or so it seems")


asyncio.run(tour())
