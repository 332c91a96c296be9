# The rules of cancellation, one at a time: cancel() is a request, and cancelling() counts how often it was made.
# Look at the last line of each rule: how the task ended, and what the count says about it.
import asyncio


async def lets_it_pass():
    print("  task: begins")
    return await asyncio.sleep(3600, "never returned")


async def swallows(uncancels):
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        print(f"  task: catches it; cancelling() is {asyncio.current_task().cancelling()}")
    if uncancels:
        print(f"  task: uncancel() leaves {asyncio.current_task().uncancel()}")
    await asyncio.sleep(0.01)  # the next await is an ordinary one
    return "its result"


async def cleans_up():
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        print("  task: cleans up")
        await asyncio.sleep(0.03)
        print("  task: is clean")
        raise


async def cancels_itself():
    asyncio.current_task().cancel()
    return "never returned"


async def awaits_shielded(inner):
    return await asyncio.shield(inner)


async def outcome(task):
    try:
        result = await task
        print(f"  main: it has returned {result}", end="")
    except asyncio.CancelledError:
        print("  main: it is cancelled", end="")
    print(f"; cancelling() is {task.cancelling()}")


async def cancel(rule, job, times, pause):
    print(f"{rule}:")
    task = asyncio.create_task(job)
    for i in range(times):
        if pause > 0:
            await asyncio.sleep(pause)
        task.cancel()
    await outcome(task)


async def tour():
    await cancel("before the first step: the body never runs", lets_it_pass(), 1, 0)
    await cancel("twice, before it could react: cancelled once, counted twice", lets_it_pass(), 2, 0)
    await cancel("at an await: CancelledError, which ends the task", lets_it_pass(), 1, 0.01)
    await cancel("caught, and not raised again: the task goes on, the count remembers", swallows(False), 1, 0.01)
    await cancel("caught, and taken back: as if nobody had asked", swallows(True), 1, 0.01)
    await cancel("a cleanup that awaits, then raises it again", cleans_up(), 1, 0.01)
    await cancel("a second cancel() during the cleanup: ends the cleanup, too", cleans_up(), 2, 0.01)
    await cancel("a task that cancels itself and awaits nothing more: heeded all the same", cancels_itself(), 0, 0)
    inner = asyncio.create_task(asyncio.sleep(0.03, "what it saved"))
    await cancel("shield: who awaits is cancelled, what is awaited is not", awaits_shielded(inner), 1, 0.01)
    await outcome(inner)


asyncio.run(tour())
