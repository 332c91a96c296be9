# A main() that is no coroutine is no main for run.
# error: a coroutine was expected, got 7
import asyncio


def work():
    return 7


asyncio.run(work())
