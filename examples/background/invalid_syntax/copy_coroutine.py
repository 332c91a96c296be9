# A coroutine is one activation of a function, and runs once: two names for it are not two coroutines.
# error: RuntimeError: cannot reuse already awaited coroutine
import asyncio


async def work():
    return 7


coroutine = work()
copy = coroutine
asyncio.run(coroutine)
asyncio.run(copy)
