# A coroutine that awaits a coroutine: bar around foo, driven from outside as if they were one.
# Look at what send() of bar gives: the future that foo awaits. An await hands everything through, in both directions;
# only what the innermost coroutine awaits ever comes out.
import asyncio


async def foo(future):
    print("Start foo")
    value = await future
    print(value)
    print("End foo")
    return "result"


async def bar(future):
    print("Start bar")
    result = await foo(future)
    print("End bar")
    return result


loop = asyncio.new_event_loop()  # never runs; but every future belongs to one
future = loop.create_future()

coroutine = bar(future)
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
