# Task: a coroutine that the loop runs, from one await to the next.
# Look at the iterations: an awaited coroutine runs at once, inside its caller; a task starts in the next
# iteration, and two tasks take turns.
import asyncio


async def count_iterations():
    iteration = 2
    while True:
        print(f"iteration {iteration}")
        await asyncio.sleep(0)  # gives way to the others, for one iteration
        iteration += 1


async def work(name, steps):
    for step in range(1, steps + 1):
        print(f"  {name}: step {step} of {steps}")
        if step < steps:
            await asyncio.sleep(0)
    return steps


async def tour():
    print("iteration 1")
    counter = asyncio.create_task(count_iterations())

    lazy = work("lazy", 1)
    print("  main: lazy was called, and nothing has happened: it is not awaited yet")
    await lazy
    print("  main: lazy has run, and this is still the same iteration")

    a = asyncio.create_task(work("a", 2))
    b = asyncio.create_task(work("b", 3))
    print("  main: the tasks a and b are made, and neither has started")
    steps = await a
    print(f"  main: a is done after {steps} steps")
    steps = await b
    print(f"  main: b is done after {steps} steps")
    counter.cancel()


asyncio.run(tour())
