# An echo server on asyncio's sockets: try, and wait for the loop when the kernel says "not now".
# Look at echo(): it could be the code of one client who has the machine for himself. Compare mecho.py.
import asyncio
import socket
import sys

loop = asyncio.new_event_loop()


async def echo(client):
    with client:
        try:
            while True:
                data = await loop.sock_recv(client, 10000)
                if not data:
                    break
                await loop.sock_sendall(client, data)
        except OSError:  # the client has gone without a word
            pass


def create_server(port):
    server = socket.create_server(("127.0.0.1", port), backlog=1024)
    server.setblocking(False)
    print("serving on %s:%d" % server.getsockname(), flush=True)
    return server


async def serve(server):
    tasks = set()  # the loop itself keeps only weak references
    while True:
        client, address = await loop.sock_accept(server)
        client.setblocking(False)
        task = loop.create_task(echo(client))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


loop.run_until_complete(serve(create_server(int(sys.argv[1]) if len(sys.argv) > 1 else 50000)))
