"""The server for 09_websocket: websocket_server.py PORT. The path says how it behaves."""
import asyncio
import http
import sys

import websockets


async def refuse(path, headers):
    if path == "/secret":
        return http.HTTPStatus.FORBIDDEN, [], b"not for you\n"


async def serve(socket):
    if socket.path == "/ping":
        await (await socket.ping())
        await socket.send("you are there")
    elif socket.path == "/farewell":
        await socket.close(1001)
    elif socket.path == "/cut":
        socket.transport.write(b"\x81\x7e\x01\x00abc")  # three bytes of 256
        socket.transport.close()
        await socket.wait_closed()
    elif socket.path == "/bad-frame":
        socket.transport.write(b"\x83\x01x")  # 3 is no opcode
        await socket.wait_closed()
    else:
        async for message in socket:
            await socket.send(message)


async def main():
    async with websockets.serve(serve, "127.0.0.1", int(sys.argv[1]), process_request=refuse, compression=None):
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
