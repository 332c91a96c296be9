# Threads and processes: where to put what would block the loop, and how to come back.
# Look at the ticks: the loop goes on while threads sleep. At the counter: a thread shares it, a process has its own.
# And at the only two calls that a foreign thread may make: call_soon_threadsafe and run_coroutine_threadsafe.
import asyncio
import concurrent.futures
import multiprocessing
import threading
import time

counter = 0
ticks = 0


# Blocks as a slow disk or library would; here, until the loop has ticked twice.
def blocking_work(name):
    while ticks < 2:
        time.sleep(0.01)
    return f"{name} is done"


def count():
    global counter
    counter += 1
    return counter


def fail():
    raise RuntimeError("no luck in there")


async def tick():
    global ticks
    for n in (1, 2):
        await asyncio.sleep(0.1)
        print(f"  the loop ticks: {n}")
        ticks = n


async def threads():
    print("two blocking calls, each in a thread:")
    ticking = asyncio.create_task(tick())
    a, b = await asyncio.gather(asyncio.to_thread(blocking_work, "a"), asyncio.to_thread(blocking_work, "b"))
    print(f"  {a}, {b}")
    await ticking


async def executors():
    loop = asyncio.get_running_loop()
    threads = concurrent.futures.ThreadPoolExecutor(2)
    processes = concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("fork"))
    counted = await loop.run_in_executor(threads, count)
    print(f"a pool of threads: it counts to {counted}, and the counter here is {counter}")
    counted = await loop.run_in_executor(processes, count)
    print(f"a pool of processes: it counts to {counted}, and the counter here is {counter}")
    try:
        await loop.run_in_executor(threads, fail)
    except RuntimeError as error:
        print(f"an exception comes back: {error}")
    threads.shutdown()
    processes.shutdown()


async def in_the_loop(caller):
    await asyncio.sleep(0.01)
    return "the same thread" if caller == threading.get_ident() else "in the loop's thread"


def foreign_thread(loop, finished):
    result = asyncio.run_coroutine_threadsafe(in_the_loop(threading.get_ident()), loop)
    print(f"a foreign thread: the coroutine has run {result.result()}")  # blocks this thread, not the loop
    loop.call_soon_threadsafe(finished.set)


async def back_into_the_loop():
    finished = asyncio.Event()
    thread = threading.Thread(target=foreign_thread, args=(asyncio.get_running_loop(), finished))
    thread.start()
    await finished.wait()
    print("main: the foreign thread has called")
    thread.join()


async def tour():
    await threads()
    await executors()
    await back_into_the_loop()


if __name__ == "__main__":
    asyncio.run(tour())
