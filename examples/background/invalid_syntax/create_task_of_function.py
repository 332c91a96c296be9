# A task is made of a coroutine. This function blocks while it is called, and asyncio.to_thread is for such.
# error: TypeError: a coroutine was expected, got <function work at
import asyncio


def work():
    return 7


async def f():
    return await asyncio.create_task(work)


asyncio.run(f())
