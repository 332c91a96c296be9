# Streams: a line is something one can await, and nobody counts bytes any more.
# Look at serve(), the shortest of all. Only a line that is too long is left to deal with: read_line drops what is above
# the limit, and says so once.
import asyncio

from fib import MAX_LINE, PORT, answer, program


# Too long a line comes out as MAX_LINE + 1 bytes, as from Lines. None at the end.
async def read_line(reader):
    too_long = False
    while True:
        try:
            line = await reader.readuntil(b"\n")
            return b"?" * (MAX_LINE + 1) if too_long else line[:-1]
        except asyncio.LimitOverrunError as error:
            await reader.readexactly(error.consumed)
            too_long = True
        except asyncio.IncompleteReadError:
            return None


async def serve(reader, writer):
    try:
        while (line := await read_line(reader)) is not None:
            text = await asyncio.get_running_loop().run_in_executor(None, answer, line)
            writer.write(text)
            await writer.drain()
    except OSError:
        pass  # the client broke the connection
    except asyncio.CancelledError:
        pass  # the server ends
    finally:
        writer.close()


async def serve_until_signal(port):
    stop = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", port, limit=MAX_LINE)
    program.stop_on_signals(asyncio.get_running_loop(), stop.set)
    program.report_once(asyncio.get_running_loop())
    print("serving: nc 127.0.0.1", server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    server.close()


program.run("[PORT]", lambda arguments: asyncio.run(serve_until_signal(arguments.port(PORT))))
