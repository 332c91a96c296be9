# A client that counts messages per second, against any echo server.
#     bench.py [PORT [SECONDS [CONNECTIONS]]]      by default 50000, 3 and 10
# Look at the counter: one thread, so nobody has to lock it. And at bench(): clients never end, so who counts ends them.
import asyncio

from echo import program

SIZE = 1000
messages = 0


async def client(port):
    global messages
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    message = b"x" * SIZE
    while True:
        writer.write(message)
        answer = await reader.readexactly(SIZE)
        if answer != message:
            raise RuntimeError("this is no echo")
        messages += 1


async def count(seconds):
    for second in range(seconds):
        before = messages
        await asyncio.sleep(1)
        print(f"{messages - before} messages/s", flush=True)
    print(f"total: {messages} messages in {seconds} s", flush=True)


async def bench(port, seconds, connections):
    clients = asyncio.gather(*[client(port) for i in range(connections)])
    counting = asyncio.create_task(count(seconds))
    counting.add_done_callback(lambda _: clients.cancel())
    try:
        await clients
    except asyncio.CancelledError:
        pass  # all is counted


def main(arguments):
    asyncio.run(bench(arguments.port(50000), arguments.number(1, 3, 1, 3600), arguments.number(2, 10, 1, 10000)))


program.run("[PORT [SECONDS [CONNECTIONS]]]", main)
