# What blocks and cannot be changed goes to a thread: the loop awaits it as it awaits a timer.
# Look at run_in_executor: the blocking call is that of server_async, and /quick is answered meanwhile all the same.
# The pool has so many threads and no more: `ab -c 50` shows how many requests are worked on at once.
import asyncio
import time

import http_


def work():
    time.sleep(0.1)
    return "hello\n"


async def respond(request):
    if request.target == "/quick":
        return "hello\n"
    return await asyncio.get_running_loop().run_in_executor(None, work)


http_.serve_until_signal(respond)
