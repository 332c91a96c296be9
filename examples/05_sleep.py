# sleep: a task that waits costs nothing, so a thousand can wait at the same time.
# Look at the times: one after the other they add up, together they take as long as the longest. (How much longer
# differs from machine to machine: so it only says whether it was the sum.)
import asyncio


async def sleeper(seconds):
    await asyncio.sleep(seconds)
    print(f"  slept for {seconds:g} s")


async def one_after_the_other():
    for seconds in (0.6, 0.2, 0.4):
        await sleeper(seconds)


async def together():
    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (0.6, 0.2, 0.4)]
    for task in tasks:
        await task


async def a_thousand():
    tasks = [asyncio.create_task(asyncio.sleep(0.6)) for i in range(1000)]
    for task in tasks:
        await task


async def measure(coroutine, total):
    start = asyncio.get_running_loop().time()
    await coroutine
    elapsed = asyncio.get_running_loop().time() - start
    print(f"  took {'less than' if elapsed < total else 'not less than'} {total:g} s")


async def tour():
    print("three sleeps, one after the other:")
    await measure(one_after_the_other(), 1.2)
    print("three tasks that sleep at the same time:")
    await measure(together(), 1.2)
    print("a thousand tasks that sleep for 0.6 s each:")
    await measure(a_thousand(), 600)


asyncio.run(tour())
