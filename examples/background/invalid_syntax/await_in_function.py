# error: SyntaxError: 'await' outside async function
import asyncio


def f():
    return await asyncio.sleep(1, 42)
