# timeout and wait_for: a deadline is a timer that cancels the task, and turns the CancelledError into a TimeoutError.
# Look at who sees which: inside the limit it is a CancelledError, outside a TimeoutError; unless somebody else
# has cancelled the task as well.
import asyncio


async def an_hour():
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        print("  inside: CancelledError")
        raise


async def an_hour_limited(delay):
    async with asyncio.timeout(delay):
        await an_hour()


async def moves_its_deadline():
    async with asyncio.timeout(0.02) as limit:
        limit.reschedule(asyncio.get_running_loop().time() + 3600)
        await asyncio.sleep(0.05)
        print(f"  inside: has had 0.05 s; expired() is {'true' if limit.expired() else 'false'}")


async def nested(outer, inner):
    async with asyncio.timeout(outer):
        try:
            async with asyncio.timeout(inner):
                await an_hour()
        except TimeoutError:
            print("  between the two: TimeoutError, and outer has time left to go on")


async def slow_to_leave():
    async with asyncio.timeout(0.02):
        try:
            await an_hour()
        except asyncio.CancelledError:
            print("  inside: that was the deadline; has to tidy up, for another hour")
        await an_hour()


async def outcome(coroutine):
    try:
        await coroutine
        print("  outside: no exception")
    except TimeoutError:
        print("  outside: TimeoutError")
    except asyncio.CancelledError:
        print("  outside: CancelledError: who cancels a task must not find that it has only timed out")


async def tour():
    print("timeout: a limit for whatever the body awaits")
    await outcome(an_hour_limited(0.02))
    print("wait_for: the same for one awaitable")
    await outcome(asyncio.wait_for(an_hour(), 0.02))
    print("reschedule: from 0.02 s to an hour")
    await outcome(moves_its_deadline())
    print("nested, the outer deadline passes: inner lets the CancelledError through, for it is not its own")
    await outcome(nested(0.02, 3600))
    print("nested, the inner deadline passes")
    await outcome(nested(3600, 0.02))
    print("a deadline passes, and then somebody cancels the task")
    task = asyncio.create_task(outcome(slow_to_leave()))
    await asyncio.sleep(0.05)
    task.cancel()
    await task


asyncio.run(tour())
