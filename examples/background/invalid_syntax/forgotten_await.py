# A coroutine that nobody awaits never runs. Python warns when the program runs.
# error: RuntimeWarning: coroutine 'sleep' was never awaited
import asyncio


async def f():
    asyncio.sleep(1)


asyncio.run(f())
