# Python has asynchronous generators: what this makes is none of the things that run() takes.
# error: ValueError: a coroutine was expected, got <async_generator object f
import asyncio


async def f():
    yield 1


asyncio.run(f())
