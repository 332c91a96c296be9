# Broken on purpose: a task catches everything, and so also its own cancellation.
import asyncio


async def poll():
    for _ in range(3):
        try:
            await asyncio.sleep(0.02)
        except BaseException:  # Exception lets a CancelledError pass
            print("something went wrong, try again")


async def tour():
    poller = asyncio.create_task(poll())
    await asyncio.sleep(0.01)
    poller.cancel()
    await poller
    print("it went on to its end")


asyncio.run(tour())
