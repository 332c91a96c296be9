# A done callback is called with the future, and Python finds out when it is: the loop reports it, and goes on.
# error: TypeError: done() takes 0 positional arguments but 1 was given
import asyncio


def done():
    pass


async def f():
    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(done)
    future.set_result(42)
    await asyncio.sleep(0)


asyncio.run(f())
