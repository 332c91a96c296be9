"""An HTTP/2 server that misbehaves: h2_server.py PORT. /reset resets its stream, /cut breaks the connection in the middle of
a body, /slow answers after 0.2 s, all else at once."""
import asyncio
import sys

import h2.connection
import h2.config
import h2.errors
import h2.events

HEADERS = [(":status", "200"), ("content-type", "text/plain")]


async def answer(connection, writer, stream, path):
    connection.send_headers(stream, HEADERS)
    if path == "/reset":
        connection.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
    elif path == "/cut":
        connection.send_data(stream, b"half of")
        writer.write(connection.data_to_send())
        writer.close()
        return
    else:
        if path == "/slow":
            await asyncio.sleep(0.2)
            if writer.is_closing():
                return
        connection.send_data(stream, b"hello\n", end_stream=True)
    writer.write(connection.data_to_send())


async def serve(reader, writer):
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    tasks = []
    try:
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    path = dict(event.headers)[":path"]
                    tasks.append(asyncio.create_task(answer(connection, writer, event.stream_id, path)))
            writer.write(connection.data_to_send())
    except ConnectionError:
        pass
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
