# A service: a small JSON document at GET /. One loop uses one core; more cores take more processes, a loop in each.
# Look at reuse_port: every process listens on the same port with a socket of its own, and the kernel deals the clients
# out. `json_server.py 8000 4` runs four; ask `curl localhost:8000` a few times, and see which process answers.
import asyncio
import json
import os
import signal
import socket
import sys

import http_

requests = 0


async def respond(request):
    global requests
    if request.target != "/":
        raise http_.Error("404 Not Found")
    requests += 1
    return json.dumps({"message": "hello", "process": os.getpid(), "requests": requests}) + "\n"


# Holds the port for all processes, and does not listen itself.
def reserve(port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    return sock


def main(argv):
    reserved = reserve(int(argv[1]) if len(argv) > 1 else 8000)
    port = reserved.getsockname()[1]
    processes = int(argv[2]) if len(argv) > 2 else os.cpu_count()

    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # kept for sigwait(), however early they come

    children = []
    for _ in range(processes):
        children.append(os.fork())
        if children[-1] == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)
            asyncio.run(http_.serve(respond, port, type="application/json", reuse_port=True))
            return
    signal.sigwait(ends)
    for child in children:
        os.kill(child, signal.SIGTERM)
    for child in children:
        os.waitpid(child, 0)
    reserved.close()


main(sys.argv)
