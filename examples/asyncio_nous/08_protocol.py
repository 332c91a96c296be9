# A protocol and its transport: one class that says what to do when bytes come, and the loop that moves them.
# Look at data_received: it gets bytes, not messages. What a message is the protocol says: here, a line.
import asyncio


class Shouter(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.buffer = b""

    def data_received(self, data):
        print(f"  server: {len(data)} bytes")
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            self.transport.write(line.upper() + b"!\n")

    def connection_lost(self, exception):
        print(f"  server: the client has left, {len(self.buffer)} bytes of a line are lost")


async def tour():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Shouter, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    for part in (b"hel", b"lo\nwor", b"ld\nbye"):
        await asyncio.sleep(0.05)
        writer.write(part)
    for line in (1, 2):
        answer = await reader.readline()
        print(f"client: {answer.decode()}", end="")
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.05)
    server.close()


asyncio.run(tour())
