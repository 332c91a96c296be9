# ContextVar: a variable with one value in each context, where a global would have one for all.
# Look at who sees whose set(): a task and a callback get a copy of the context when they are made, not when they
# run; a coroutine that is only awaited shares the caller's.
import asyncio
import contextvars

user = contextvars.ContextVar("user", default="nobody")


def show(where):
    print(f"  {where}: {user.get()}")


async def serve(name):
    show(f"task for {name}, begins as")
    user.set(name)
    await asyncio.sleep(0.01)  # the other one runs meanwhile
    show(f"task for {name}, after an await")


async def log_in(name):
    user.set(name)


async def tour():
    loop = asyncio.get_running_loop()
    print("two tasks set it, and each keeps its own:")
    ann = asyncio.create_task(serve("ann"))
    bob = asyncio.create_task(serve("bob"))
    await ann
    await bob
    show("main, who made them")

    print("a coroutine that is awaited runs in the caller's context:")
    await log_in("carol")
    show('main, after it awaited log_in("carol")')

    print("a callback sees what was set when it was scheduled:")
    loop.call_later(0.01, show, "callback, scheduled under carol")
    before = user.set("dave")
    loop.call_later(0.03, show, "callback, scheduled under dave")
    user.reset(before)
    show("main, after reset(): back to")
    await asyncio.sleep(0.05)

    print("a context is an object, too:")
    context = contextvars.copy_context()
    context.run(user.set, "erin")
    context.run(show, "run in the copy")
    show("main, which is another context")
    await asyncio.create_task(log_in("frank"), context=context)
    context.run(show, "the copy, after a task that was given it")


asyncio.run(tour())
