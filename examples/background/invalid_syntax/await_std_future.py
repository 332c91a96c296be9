# A future of concurrent.futures blocks its thread when it is asked: it is none of asyncio's. asyncio.wrap_future gives one
# that can be awaited.
# error: TypeError: object Future can't be used in 'await' expression
import asyncio
import concurrent.futures


async def f(result):
    return await result


asyncio.run(f(concurrent.futures.Future()))
