# Python finds out when the callback is called, and by whom it was scheduled is no longer known: the loop reports it, and
# goes on.
# error: TypeError: greet() missing 1 required positional argument: 'times'
import asyncio


def greet(name, times):
    print(name * times)


loop = asyncio.new_event_loop()
loop.call_soon(greet, "world")
loop.call_soon(loop.stop)
loop.run_forever()
loop.close()
