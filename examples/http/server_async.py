# The loop of asyncio, and no better than the first: respond() is a coroutine, but what it calls blocks the thread.
# Look at time.sleep(): there is no await in that line, so nobody else runs meanwhile. `ab -c 2 -n 10` takes 1 s.
import time

import http_


async def respond(request):
    if request.target != "/quick":
        time.sleep(0.1)  # the mistake
    return "hello\n"


http_.serve_until_signal(respond)
