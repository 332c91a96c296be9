# The same with a wait that does not block: while one client waits, the others are served.
# Look at await: it is the only difference from server_async. `ab -c 2 -n 10` takes half a second, `-c 10` 0.1 s.
import asyncio
import sys

import http_


async def respond(request):
    if request.target != "/quick":
        await asyncio.sleep(0.1)  # the work, somewhere else: a database's, say
    return "hello\n"


asyncio.run(http_.serve(respond, int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
