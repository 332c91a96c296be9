# A text protocol over streams: Client speaks it, and no library is needed.
# Look at Client.whole: what becomes of the connection when somebody stops waiting for a reply.
import asyncio

import common


class Refused(Exception):
    """memcached refused: CLIENT_ERROR (the command was wrong), SERVER_ERROR (it failed), ERROR (no such command)."""


class NotConnected(Exception):
    """The connection was closed by a command that did not end."""


def checked(key):
    if not 0 < len(key) <= 250 or any(c <= " " or c == "\x7f" for c in key):
        raise ValueError("not a key")
    return key


class Client:
    def __init__(self, streams):
        self.reader, self.writer = streams
        self.lock = asyncio.Lock()

    async def get(self, key):
        return await self.whole(f"get {checked(key)}\r\n", self.read_value)

    async def set(self, key, value):
        reply = await self.whole(f"set {checked(key)} 0 0 {len(value)}\r\n{value}\r\n", self.read_line)
        if reply != "STORED":
            raise Refused(reply)

    async def incr(self, key, by):
        reply = await self.whole(f"incr {checked(key)} {by}\r\n", self.read_line)
        return None if reply == "NOT_FOUND" else int(reply)

    async def delete(self, key):
        return await self.whole(f"delete {checked(key)}\r\n", self.read_line) == "DELETED"

    async def whole(self, command, read_reply):
        """Either all of the reply is read, or the connection ends here."""
        async with self.lock:
            if self.writer.is_closing():
                raise NotConnected
            in_step = False
            try:
                self.writer.write(command.encode())
                await self.writer.drain()
                reply = await read_reply()
                in_step = True
                return reply
            except Refused:
                in_step = True  # this was the whole reply, too
                raise
            finally:
                if not in_step:
                    self.writer.transport.abort()

    async def read_line(self):
        line = (await self.reader.readuntil(b"\r\n"))[:-2].decode()
        if line == "ERROR" or line.startswith(("CLIENT_ERROR", "SERVER_ERROR")):
            raise Refused(line)
        return line

    async def read_value(self):
        head = await self.read_line()
        if head == "END":
            return None
        size = int(head.split(" ")[3])
        value = (await self.reader.readexactly(size + 2))[:-2]
        await self.read_line()
        return value.decode()



async def show_commands(port):
    client = Client(await asyncio.open_connection("127.0.0.1", port))
    await client.set("greeting", "good morning")
    print("greeting:", await client.get("greeting") or "nothing")
    print("missing:", await client.get("missing") or "nothing")
    await client.set("count", "40")
    print("count + 2:", await client.incr("count", 2))
    deleted = await client.delete("greeting")
    print(f"deleted: {deleted:d}, again: {await client.delete('greeting'):d}")


async def show_refused(port):
    """The server refuses, and the connection goes on. What would be two commands is not even sent."""
    client = Client(await asyncio.open_connection("127.0.0.1", port))
    await client.set("name", "Ada")
    try:
        await client.incr("name", 1)
    except Refused as error:
        print("name + 1:", error)
    injected = await common.error_of(client.get("name\r\nflush_all"))
    print(f"two commands in one key: {injected}; name: {await client.get('name') or 'nothing'}")


async def stand_in(reply, cut):
    """Stands in for a server: sends `reply` to the first command, and closes the connection if `cut`."""

    async def serve(reader, writer):
        await reader.readline()
        writer.write(reply)
        if not cut:
            await reader.read()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


async def show_cut_off(reply):
    server = await stand_in(reply, True)
    client = Client(await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1]))
    print(f"cut off after {len(reply)} bytes: {await common.error_of(client.get('key'))}")
    server.close()


async def show_timeout():
    """Half of a reply, then nothing more: the other half must never be taken for the reply to another command."""
    server = await stand_in(b"VALUE key 0 10\r\n01234", False)
    client = Client(await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1]))
    error = await common.error_of(asyncio.wait_for(client.get("key"), 0.05))
    print(f"half a reply: {error}, and then: {await common.error_of(client.get('key'))}")
    server.close()


async def demonstrate(port):
    await show_commands(port)
    await show_refused(port)
    for reply in b"", b"VALUE key 0 10", b"VALUE key 0 10\r\n01234":
        await show_cut_off(reply)
    await show_timeout()


async def get_many(port, count):
    client = Client(await asyncio.open_connection("127.0.0.1", port))
    for _ in range(count):
        await client.get("key")


async def measure(port):
    client = Client(await asyncio.open_connection("127.0.0.1", port))
    await client.set("key", "x" * 100)
    one_by_one = common.Stopwatch()
    await get_many(port, 10000)
    one_by_one.report("get", 10000)
    together = common.Stopwatch()
    await asyncio.gather(*[get_many(port, 1000) for _ in range(20)])
    together.report("get on 20 connections", 20000)


asyncio.run(measure(common.PORT) if common.MODE == "bench" else demonstrate(common.PORT))
