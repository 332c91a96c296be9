# The same echo server on a loop of 50 lines: myloop.py.
# Look at the difference to aecho.py: there is none. The interface is worth that: who writes a handler need not know what
# runs it. And what a loop has beyond this, cancellation, timeouts, results, is what asyncio is for.
import socket
import sys

import myloop


async def echo(client):
    with client:
        try:
            while True:
                data = await myloop.sock_recv(client, 10000)
                if not data:
                    break
                await myloop.sock_sendall(client, data)
        except OSError:  # the client has gone without a word
            pass


def create_server(port):
    server = socket.create_server(("127.0.0.1", port), backlog=1024)
    server.setblocking(False)
    print("serving on %s:%d" % server.getsockname(), flush=True)
    return server


async def serve(server):
    while True:
        client, address = await myloop.sock_accept(server)
        client.setblocking(False)
        myloop.start(echo(client))


myloop.start(serve(create_server(int(sys.argv[1]) if len(sys.argv) > 1 else 50000)))
myloop.run_forever()
