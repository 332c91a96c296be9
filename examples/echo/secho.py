# An echo server on streams: the loop reads and writes, the handler sees a reader and a writer.
# Look at echo(): no socket, no waiting for the kernel. It is also the one that asks the kernel least: a transport stays
# registered with the selector, where sock_recv registers for each message anew. `make bench-echo` shows what that is worth.
import asyncio
import sys


async def echo(reader, writer):
    try:
        while True:
            data = await reader.read(10000)
            if not data:
                break
            writer.write(data)
            await writer.drain()
    except OSError:  # the client has gone without a word
        pass
    writer.close()


async def serve(port):
    server = await asyncio.start_server(echo, "127.0.0.1", port, backlog=1024)
    print("serving on %s:%d" % server.sockets[0].getsockname(), flush=True)
    await server.serve_forever()


asyncio.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 50000))
