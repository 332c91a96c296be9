# Broken on purpose: a callback schedules itself at once, again and again.
import asyncio


def poll(loop, left):
    if left > 0:
        loop.call_soon(poll, loop, left - 1)  # call_later(0.01, …) would let the loop sleep
    else:
        print("at last")
        loop.stop()


def main():
    loop = asyncio.new_event_loop()
    loop.call_soon(poll, loop, 200)
    loop.run_forever()
    loop.close()


main()
