# Locks, semaphores, queues: one thread needs them, too, wherever a task awaits in the middle of something.
# Look at transfer(): without the lock both would see 100, for there is an await between looking and writing.
import asyncio

balance = 100


async def transfer(name, lock):
    global balance
    async with lock:
        seen = balance
        await asyncio.sleep(0.01)
        balance = seen - 30
        print(f"{name} saw {seen} and left {balance}")


async def visit(name, seats):
    async with seats:
        print(f"{name} sits down{': no seat is left' if seats.locked() else ''}")
        await asyncio.sleep(0.03)


async def wait_for_start(name, start):
    await start.wait()
    print(f"{name} runs")


async def consume(queue, items):
    for i in range(items):
        item = await queue.get()
        print(f"got {item[1]}")
        queue.task_done()


async def hand_over(queue):
    consumer = asyncio.create_task(consume(queue, 3))
    queue.put_nowait((3, "wash up"))
    queue.put_nowait((1, "cook"))
    queue.put_nowait((2, "eat"))
    await queue.join()
    await consumer


async def tour():
    print("a lock:")
    lock = asyncio.Lock()
    await asyncio.gather(transfer("a", lock), transfer("b", lock))
    print("a semaphore of 2:")
    seats = asyncio.Semaphore(2)
    await asyncio.gather(visit("a", seats), visit("b", seats), visit("c", seats))
    print("an event:")
    start = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, start.set)
    await asyncio.gather(wait_for_start("a", start), wait_for_start("b", start))
    print("a queue:")
    await hand_over(asyncio.Queue())
    print("a priority queue:")
    await hand_over(asyncio.PriorityQueue())


asyncio.run(tour())
