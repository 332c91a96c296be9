# A client that counts messages per second, against any echo server.
#     bench.py [PORT [SECONDS [CONNECTIONS]]]      by default 50000, 3 and 10
# Look at the counter: one thread, so nobody has to lock it.
import asyncio
import sys

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
    clients = [client(port) for i in range(connections)]
    either = [asyncio.create_task(count(seconds)), asyncio.gather(*clients)]
    done, pending = await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    done.pop().result()  # a client's exception: without it none ever ends


arguments = [int(argument) for argument in sys.argv[1:]]
try:
    asyncio.run(bench(*arguments, *(50000, 3, 10)[len(arguments):]))
except Exception as error:
    sys.exit(f"bench: {error}")
