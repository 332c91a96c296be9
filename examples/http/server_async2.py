# The same with a wait that does not block: while one client waits, the others are served.
# Look at await: it is the only difference from server_async. `ab -c 2 -n 10` takes half a second, `-c 10` 0.1 s.
import asyncio

import http_


async def respond(request):
    if request.target != "/quick":
        await asyncio.sleep(0.1)  # the work, somewhere else: a database's, say
    return "hello\n"


http_.serve_until_signal(respond)
