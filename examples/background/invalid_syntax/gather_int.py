# error: TypeError: An asyncio.Future, a coroutine or an awaitable is required
import asyncio


async def f():
    await asyncio.gather(asyncio.sleep(0), 42)


asyncio.run(f())
