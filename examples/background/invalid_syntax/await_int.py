# error: TypeError: object int can't be used in 'await' expression
import asyncio


async def f():
    return await 42


asyncio.run(f())
