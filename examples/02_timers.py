# call_later and call_at: timers are called in the order in which they are due, never early.
# Look at the timer that is late: a callback that blocks holds up everything, for there is one thread.
import asyncio
import time


def main():
    loop = asyncio.new_event_loop()
    start = loop.time()

    def ring(name, due):
        print(f"{name}: due at {due:g} s; early: {str(loop.time() < start + due).lower()}")

    def block(seconds):
        print(f"block: due at 0.4 s, keeps the thread for {seconds:g} s")
        time.sleep(seconds)
        print(f"block: returns; late is due by now: {str(loop.time() > start + 0.5).lower()}")

    # From one start, for time goes by from one call_later to the next.
    loop.call_at(start + 0.3, ring, "third", 0.3)
    loop.call_at(start + 0.1, ring, "first", 0.1)
    loop.call_at(start + 0.2, ring, "second", 0.2)
    handle = loop.call_later(0.3, ring, "never shown", 0.3)
    handle.cancel()
    loop.call_at(start + 0.4, block, 0.2)
    loop.call_at(start + 0.5, ring, "late", 0.5)
    loop.call_later(0.7, loop.stop)
    print("main: six timers, scheduled in any order; one more is cancelled")

    loop.run_forever()
    print("main: stopped by the last timer")
    loop.close()


main()
