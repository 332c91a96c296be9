# call_soon: what you schedule runs in the next iteration, in order, never at once.
# Look at which iteration each line falls into, and at what stop() does not cut short.
import asyncio


# The first callback of every iteration, for it schedules itself before anybody else does.
def iteration(n):
    print(f"iteration {n}")
    asyncio.get_running_loop().call_soon(iteration, n + 1)


def say(text):
    print(f"  {text}")


def d():
    say("d, which calls stop() and then schedules e")
    asyncio.get_running_loop().stop()
    asyncio.get_running_loop().call_soon(say, "e, which was still in the queue")


def b():
    say("b, which schedules c, d and f")
    asyncio.get_running_loop().call_soon(say, "c")
    asyncio.get_running_loop().call_soon(d)
    asyncio.get_running_loop().call_soon(say, "f: the iteration in which stop() was called runs to its end")


def main():
    loop = asyncio.new_event_loop()
    loop.call_soon(iteration, 1)
    loop.call_soon(say, "a")
    handle = loop.call_soon(say, "never shown")
    loop.call_soon(b)
    handle.cancel()
    print("main: a and b are scheduled, and nothing has run yet")

    loop.run_forever()
    print("main: the loop has stopped; let it run for one more iteration")
    loop.stop()
    loop.run_forever()
    loop.close()


main()
