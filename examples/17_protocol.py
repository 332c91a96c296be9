# Transport and Protocol: callbacks under the streams. The transport owns the socket and calls the protocol.
# Look at who calls whom: a protocol never waits. The transport says what happened; the protocol may write and close.
import asyncio


class Server(asyncio.Protocol):
    name = ""

    def connection_made(self, transport):
        print("  server: connection_made; greets")
        self.transport = transport
        transport.write(b"who is there?")

    def data_received(self, data):
        print(f'  server: data_received "{data.decode()}"')
        self.name += data.decode()

    def eof_received(self):
        print("  server: eof_received; answers, and closes")
        self.transport.write(f"welcome, {self.name}".encode())
        self.transport.close()
        return True  # do not close at once: what was written is to be sent

    def connection_lost(self, exception):
        print(f"  server: connection_lost({exception})")
        self.transport = None


class Client(asyncio.Protocol):
    def __init__(self):
        self.lost = asyncio.Future()  # the way from callbacks back to coroutines: a future

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        print(f'client: data_received "{data.decode()}"')
        if data != b"who is there?":
            return
        self.transport.write(b"a client")
        self.transport.write_eof()

    def eof_received(self):
        print("client: eof_received")
        return False  # the transport closes itself

    def connection_lost(self, exception):
        print(f"client: connection_lost({exception})")
        self.transport = None
        self.lost.set_result(None)


async def tour():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport, client = await loop.create_connection(Client, "127.0.0.1", port)
    await client.lost
    print(f"main: the transport is closing: {'true' if transport.is_closing() else 'false'}")
    server.close()


asyncio.run(tour())
