# cancel: a CancelledError, thrown at the await where the task is suspended.
# Look at who has the last word: the task. It can tidy up and go, refuse, or not even have started.
import asyncio


async def tidy():
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError as error:
        print(f"  tidy: cancelled at the await, because: {error}")
        await asyncio.sleep(0.05)
        print("  tidy: tidied up, which took an await of its own; now raises it again")
        raise


async def stubborn():
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError as error:
        print(f"  stubborn: cancelled, because: {error}; goes on")
    return "its result"


async def late():
    print("  late: never shown")
    return ""


async def cancel(task):
    task.cancel("nobody needs you")
    print("  main: cancel() has returned: the task is not done, it was only asked")
    try:
        result = await task
        print(f"  main: the task went on and has returned {result}")
    except asyncio.CancelledError:
        print("  main: the await raised CancelledError; the task is cancelled")


async def tour():
    for coroutine in (tidy, stubborn):
        task = asyncio.create_task(coroutine())
        await asyncio.sleep(0.05)
        print("a task that tidies up:" if coroutine == tidy else "a task that refuses:")
        await cancel(task)
    print("a task that has not started:")
    await cancel(asyncio.create_task(late()))


asyncio.run(tour())
