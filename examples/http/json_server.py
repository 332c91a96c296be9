# A service: a small JSON document at GET /. One loop uses one core; more cores take more processes, a loop in each.
# Look at reuse_port: every process listens on the same port with a socket of its own, and the kernel deals the clients
# out. `json_server.py 8000 4` runs four; ask `curl localhost:8000` a few times, and see which process answers. To a
# second json_server on that port it would deal some, too: that takes the word `share`.
import asyncio
import json
import os
import signal
import socket

import http_
from http_ import program

requests = 0


async def respond(request):
    global requests
    if request.target != "/":
        raise http_.Error("404 Not Found")
    requests += 1
    return json.dumps({"message": "hello", "process": os.getpid(), "requests": requests}) + "\n"


def bind_socket(port, option):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, option, 1)
    sock.bind(("127.0.0.1", port))
    return sock


# Without SO_REUSEPORT a port has one listener.
def check_that_nobody_listens(port):
    with bind_socket(port, socket.SO_REUSEADDR) as probe:
        probe.listen(1)


def serve(arguments):
    processes = arguments.number(1, os.cpu_count(), 1, 1000)
    if not arguments.given(2):
        check_that_nobody_listens(arguments.port(http_.PORT))
    # Holds the port for all processes, and does not listen itself.
    reserved = bind_socket(arguments.port(http_.PORT), socket.SO_REUSEPORT)
    port = reserved.getsockname()[1]

    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # kept for sigwait(), however early they come

    children = []
    for _ in range(processes):
        children.append(os.fork())
        if children[-1] == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)
            asyncio.run(http_.serve(respond, port, type="application/json", reuse_port=True))
            return
    program.say_signal(signal.sigwait(ends))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)  # a second one ends this process at once
    for child in children:
        os.kill(child, signal.SIGTERM)
    for child in children:
        os.waitpid(child, 0)
    reserved.close()


program.run("[PORT [PROCESSES [share]]]", serve)
