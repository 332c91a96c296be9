# Streams: a connection as a reader and a writer, and a conversation as straight-line code.
# Look at handle_echo: one coroutine for each client, which reads as if there were no other; drain() waits while the
# client is slow to listen. Without an argument it talks to itself; `16_tcp_echo_streams.py 8888` serves until Ctrl-C.
import asyncio

import program


async def handle_echo(reader, writer):
    try:
        while True:
            line = await reader.readline()
            if not line:
                break  # the end: the client says no more
            print(f"  server: received {line.decode()}", end="", flush=True)
            writer.write(line)
            await writer.drain()
        print("  server: the end of this client")
    except asyncio.CancelledError:
        pass  # the end of the server
    writer.close()


async def say(reader, writer, line):
    print(f"client: sends {line}", end="")
    writer.write(line.encode())
    answer = await reader.readline()
    print(f"client: received {answer.decode()}", end="")


async def end(reader, writer):
    writer.write_eof()
    rest = await reader.read()
    print(f"client: until the end of the stream come {len(rest)} bytes")
    writer.close()


async def converse(port):
    first = await asyncio.open_connection("127.0.0.1", port)
    second = await asyncio.open_connection("127.0.0.1", port)
    await say(*first, "hello\n")
    await say(*second, "is anybody there?\n")
    await say(*first, "hello again\n")
    await end(*first)
    await end(*second)


async def tour():
    server = await asyncio.start_server(handle_echo, "127.0.0.1", 0)
    await converse(server.sockets[0].getsockname()[1])
    server.close()


async def serve_until_signal(port):
    stop = asyncio.Event()
    server = await asyncio.start_server(handle_echo, "127.0.0.1", port)
    program.stop_on_signals(asyncio.get_running_loop(), stop.set)
    program.report_once(asyncio.get_running_loop())
    print("serving on %s:%d" % server.sockets[0].getsockname(), flush=True)
    await stop.wait()
    server.close()


program.run("[PORT]", lambda arguments: asyncio.run(serve_until_signal(arguments.port(0)) if arguments.given(0) else tour()))
