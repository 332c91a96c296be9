# Broken on purpose: a coroutine is called and not awaited. Its body never runs.
import asyncio


async def save():
    print("saved")


async def tour():
    save()  # await is missing
    print("everything is saved, or so it seems")


asyncio.run(tour())
