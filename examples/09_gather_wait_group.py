# gather, wait, TaskGroup: the same three jobs three times over, and the one in the middle fails.
# Look at who hears of the failure, and at what becomes of slow, which still has a way to go at that moment. A job
# takes some turns of the loop: with seconds, a busy machine could make it end before the one it is slower than.
import asyncio


async def take(turns):
    for turn in range(turns):
        await asyncio.sleep(0)


async def job(name, turns):
    try:
        await take(turns)
    except asyncio.CancelledError:
        print(f"  {name}: cancelled")
        raise
    print(f"  {name}: fails" if name == "broken" else f"  {name}: done")
    if name == "broken":
        raise ValueError("broken is broken")
    return f"{name}'s result"


async def with_gather():
    try:
        await asyncio.gather(job("quick", 1), job("broken", 3), job("slow", 5))
    except ValueError as error:
        print(f"  main: gather raises the failure at once: {error}")
    await take(5)
    print("  main: nobody stopped slow, and nobody has its result")

    print("gather with return_exceptions: waits for all, and a failure is a result")
    quick, broken, slow = await asyncio.gather(
        job("quick", 1), job("broken", 3), job("slow", 5), return_exceptions=True
    )
    print(f"  main: {quick}, {broken}, {slow}")


async def with_wait():
    tasks = []
    tasks.append(asyncio.create_task(job("quick", 1)))
    tasks.append(asyncio.create_task(job("broken", 3)))
    tasks.append(asyncio.create_task(job("slow", 5)))
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    print(f"  main: wait raises nothing: {len(done)} are done, {len(pending)} is pending")
    print(f"  main: {tasks[0].result()}, {tasks[1].exception()}")
    late = await pending.pop()
    print(f"  main: what is pending is ours to cancel or to await: {late}")


async def with_group():
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(job("quick", 1))
            group.create_task(job("broken", 3))
            group.create_task(job("slow", 5))
    except ExceptionGroup as group:
        print("  main: all three have ended; the group raises what failed, as an ExceptionGroup:")
        for exception in group.exceptions:
            print(f"  main: {exception}")


async def tour():
    print("gather: the first failure is the caller's, the siblings go on")
    await with_gather()
    print("wait: tells who is done, and leaves the rest to the caller")
    await with_wait()
    print("TaskGroup: all or nothing, a failure cancels the siblings")
    await with_group()


asyncio.run(tour())
