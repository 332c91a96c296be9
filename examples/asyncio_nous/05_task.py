# A task: a coroutine that the loop runs, and the future of its result.
# Look at the order: what is awaited runs one after the other, what is a task runs when the others wait.
import asyncio


async def count_to(name, n):
    for i in range(1, n + 1):
        print(f"{name}: {i}")
        await asyncio.sleep(0.02)
    return n


async def tour():
    a = asyncio.create_task(count_to("a", 2), name="the first")
    b = asyncio.create_task(count_to("b", 3))
    print(f"two tasks are made, and have not begun: {a.get_name()} is done: {str(a.done()).lower()}")
    result_of_a, result_of_b = await a, await b
    print(f"results: {result_of_a} and {result_of_b}")

    c = asyncio.create_task(count_to("c", 100))
    await asyncio.sleep(0.01)
    c.cancel()
    try:
        await c
    except asyncio.CancelledError:
        print(f"c was cancelled: {str(c.cancelled()).lower()}")


asyncio.run(tour())
