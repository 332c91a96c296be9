# A coroutine without a loop to run it: send() by hand does what a task does.
# Look at the end: the first send() runs to the await, and gives what is awaited, a future; who drives the coroutine has
# to see that the future gets its value, and to send() again. The second one raises StopIteration with the result.
import asyncio


async def foo(future):
    print("Start foo")
    value = await future
    print(value)
    print("End foo")
    return "result"


loop = asyncio.new_event_loop()  # never runs; but every future belongs to one
future = loop.create_future()

coroutine = foo(future)
print(">>>> send1")
awaited = coroutine.send(None)
print("what it awaits is the future:", str(awaited is future).lower())
future.set_result("somevalue")

print("\n>>>> send2")
try:
    coroutine.send(None)
except StopIteration as stop:
    print("StopIteration:", stop.value)
loop.close()
