# A future takes whatever it is given: it is for the one who awaits it to be surprised.
# error: TypeError: unsupported operand type(s) for +: 'int' and 'str'
import asyncio


async def f():
    future = asyncio.get_running_loop().create_future()
    future.set_result("a string")
    return 1 + await future


asyncio.run(f())
