# A lambda is a function of its own, and there is no async lambda.
# error: SyntaxError: 'await' outside async function
import asyncio


async def f():
    pause = lambda: await asyncio.sleep(1)
    pause()
