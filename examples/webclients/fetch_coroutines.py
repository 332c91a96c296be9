# One thread, and coroutines: get() is that of fetch_sync again, line by line, with await where that one blocks.
# Look at create_task: it is what lets the pages be on their way together, as the threads were.
import asyncio
import socket

import site_


async def get(port, path):
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, site_.request(path))
        raw = b""
        while len(raw) <= site_.MAX_ANSWER and (data := await loop.sock_recv(sock, 4096)):
            raw += data
        return raw


async def fetch(port, path):
    journey = site_.Journey(path)
    while not journey.arrive(await get(port, journey.path)):
        continue
    return journey.report


async def fetch_all(port):
    tasks = [asyncio.create_task(fetch(port, path)) for path in site_.URLS]
    for task in tasks:
        print(await task)


with site_.Site() as site:
    asyncio.run(fetch_all(site.port))
    print("slow pages at once:", site.most_at_once)
