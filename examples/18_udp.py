# UDP: datagrams, each for itself; there is no connection, and nobody promises that one arrives.
# Look at the server: it has one transport for all clients, and every datagram says who sent it. Then at the last one,
# sent to where nobody listens: the answer is an error, some time later.
import asyncio


class EchoServer(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, sender):
        print(f'  server: received "{data.decode()}", sends it back')
        self.transport.sendto(data, sender)


class Client(asyncio.DatagramProtocol):
    def __init__(self):
        self.answers = asyncio.Queue()

    def datagram_received(self, data, sender):
        self.answers.put_nowait(data.decode())

    def error_received(self, exception):
        self.answers.put_nowait("(OSError: the datagram was refused)" if isinstance(exception, OSError) else "(?)")


async def ask(transport, client, question):
    print(f'client: sends "{question}"')
    transport.sendto(question.encode())
    answer = await client.answers.get()
    print(f'client: received "{answer}"')


async def tour():
    loop = asyncio.get_running_loop()
    anywhere = ("127.0.0.1", 0)
    server, server_protocol = await loop.create_datagram_endpoint(EchoServer, local_addr=anywhere)
    address = server.get_extra_info("sockname")
    transport, client = await loop.create_datagram_endpoint(Client, remote_addr=address)

    await ask(transport, client, "hello")
    await ask(transport, client, "x" * 20)
    await ask(transport, client, "bye")
    server.close()
    await asyncio.sleep(0.01)  # now it is closed
    await ask(transport, client, "still there?")
    transport.close()


asyncio.run(tour())
