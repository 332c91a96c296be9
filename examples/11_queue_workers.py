# Queue: who makes work and who does it need not know each other, nor keep the same pace.
# Look at the producer: the queue has room for two, so it waits until a worker has taken one. Then at the end:
# join() says that all work is done, shutdown() sends the workers home. The pace of a
# worker is in turns of the loop, not in seconds: so the race ends the same on any machine.
import asyncio

Queue = asyncio.Queue

if not hasattr(asyncio, "QueueShutDown"):  # before 3.13: as much of it as this program needs

    class QueueShutDown(Exception):
        pass

    class Queue(asyncio.Queue):
        END = object()

        def shutdown(self):
            super().put_nowait(self.END)

        def put_nowait(self, item):
            if self.END in self._queue:
                raise asyncio.QueueShutDown
            super().put_nowait(item)

        async def get(self):
            item = await super().get()
            if item is self.END:
                super().put_nowait(self.END)  # for the next worker
                raise asyncio.QueueShutDown
            return item

    asyncio.QueueShutDown = QueueShutDown


async def produce(queue, jobs):
    for job in range(1, jobs + 1):
        if queue.full():
            print(f"producer: the queue is full, job {job} has to wait")
        await queue.put(job)
        print(f"producer: job {job} is in the queue, which now has {queue.qsize()}")


async def work(name, queue, pace):
    done = 0
    try:
        while True:
            job = await queue.get()
            print(f"  {name}: takes job {job}")
            for turn in range(pace):
                await asyncio.sleep(0)
            print(f"  {name}: job {job} is done")
            queue.task_done()
            done += 1
    except asyncio.QueueShutDown:
        print(f"  {name}: get() raised QueueShutDown; goes home")
    return done


async def tour():
    queue = Queue(2)
    hare = asyncio.create_task(work("hare", queue, 2))
    tortoise = asyncio.create_task(work("tortoise", queue, 20))
    await produce(queue, 6)
    print("producer: that was all; joins the queue")
    await queue.join()
    print("main: join() returned: task_done() was called for every job")

    queue.shutdown()
    try:
        await queue.put(7)
    except asyncio.QueueShutDown:
        print("main: after shutdown(), put() raises QueueShutDown")
    hares, tortoises = await hare, await tortoise
    print(f"main: the hare did {hares} jobs, the tortoise {tortoises}")


asyncio.run(tour())
