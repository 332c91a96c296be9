# Python may await in an except clause: this program is right, and prints what it does.
# prints: tidied up
import asyncio


async def f():
    try:
        await asyncio.sleep(1)
    except asyncio.CancelledError:
        await asyncio.sleep(0)
        print("tidied up")
        raise


async def main():
    task = asyncio.create_task(f())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


asyncio.run(main())
