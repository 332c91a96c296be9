# Work that computes goes to another process: the loop stays free, and every core has something to do.
# Look at busy(): it does not wait, it uses 0.1 s of a processor. Threads would take turns here (in C++ they would not):
# only processes have a lock each. What goes to a process and comes back is pickled.
import asyncio
import signal
import time
from concurrent.futures import ProcessPoolExecutor

import http_


def busy():
    rounds = 0
    end = time.process_time() + 0.1  # the processor's time, not the wall's
    while time.process_time() < end:
        rounds += 1
    return f"hello, after so many rounds: {rounds}\n"


async def respond(pool, request):
    if request.target == "/quick":
        return "hello\n"
    return await asyncio.get_running_loop().run_in_executor(pool, busy)


def main():
    # Ctrl-C goes to all processes: the workers leave it to their parent.
    with ProcessPoolExecutor(initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)) as pool:

        async def respond_with_pool(request):
            return await respond(pool, request)

        http_.serve_until_signal(respond_with_pool)


if __name__ == "__main__":
    main()
