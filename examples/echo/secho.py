# An echo server on streams: the loop reads and writes, the handler sees a reader and a writer.
# Look at echo(): no socket, no waiting for the kernel. It is also the one that asks the kernel least: a transport stays
# registered with the selector, where sock_recv registers for each message anew. `make bench-echo` shows what that is worth.
import asyncio

from echo import program, say, serve_with


async def echo(reader, writer):
    say("Connection from %s:%d" % (writer.get_extra_info("peername") or ("0.0.0.0", 0)))
    try:
        while True:
            data = await reader.read(10000)
            if not data:
                break
            say("Got: ", data)
            writer.write(data)
            await writer.drain()
    except OSError:  # the client has gone without a word
        pass
    except asyncio.CancelledError:  # the server ends
        pass
    writer.close()
    say("Connection closed")


async def serve(port):
    stop = asyncio.Event()
    server = await asyncio.start_server(echo, "127.0.0.1", port, backlog=1024)
    program.stop_on_signals(asyncio.get_running_loop(), stop.set)
    program.report_once(asyncio.get_running_loop())
    print("serving on %s:%d" % server.sockets[0].getsockname(), flush=True)
    await stop.wait()
    server.close()


serve_with(lambda port: asyncio.run(serve(port)))
