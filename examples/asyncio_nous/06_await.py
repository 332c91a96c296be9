# await: a coroutine, a future and a task are awaited in the same way, and give the same.
# Look at what has happened before the await: of a coroutine nothing, of a task what it could do while others waited.
import asyncio


async def answer(who):
    print(f"  {who}: is asked")
    await asyncio.sleep(0.01)
    print(f"  {who}: answers")
    return f"the answer of {who}"


async def tour():
    loop = asyncio.get_running_loop()
    coroutine = answer("a coroutine")
    task = loop.create_task(answer("a task"))
    future = loop.create_future()
    loop.call_later(0.02, future.set_result, "the answer of a future")
    print("main: sleeps")
    await asyncio.sleep(0.05)

    print("main: awaits")
    print(await coroutine)
    print(await future)
    print(await task)

    print("again:", await task)
    try:
        await coroutine
    except RuntimeError as error:
        print("again:", error)


asyncio.run(tour())
