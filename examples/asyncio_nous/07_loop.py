# The loop itself: run_until_complete and run_forever, and the four ways to have something called.
# Look at the last line of each part: who ends the loop. Then at call_at: the loop's clock is not the one on the wall, but
# one is easily made of the other.
import asyncio
import threading
import time


async def compute():
    await asyncio.sleep(0.01)
    return 42


def main():
    loop = asyncio.new_event_loop()
    print("run_until_complete:", loop.run_until_complete(compute()))

    print("run_forever, until somebody calls stop():")
    loop.call_later(0.1, print, "  call_later: in a tenth of a second")
    loop.call_soon(print, "  call_soon: in the next iteration")
    loop.call_later(0.2, loop.stop)
    loop.run_forever()

    wall_clock_time = time.time() + 0.1  # say, at eight o'clock

    def on_time():
        print(f"call_at: it is time: {str(time.time() >= wall_clock_time - 0.01).lower()}")
        loop.stop()

    loop.call_at(loop.time() + (wall_clock_time - time.time()), on_time)
    loop.run_forever()

    def work():
        time.sleep(0.05)
        loop.call_soon_threadsafe(print, "call_soon_threadsafe: said by a thread, called by the loop")
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=work)
    thread.start()
    loop.run_forever()
    thread.join()

    print(f"closed: {str(loop.is_closed()).lower()}")
    loop.close()
    print(f"closed: {str(loop.is_closed()).lower()}")


main()
