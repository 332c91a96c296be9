# The module is no coroutine: asyncio.run(coroutine()) is the way in.
# error: SyntaxError: 'await' outside function
import asyncio

await asyncio.sleep(1)
