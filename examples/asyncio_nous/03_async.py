# Three pages in one thread: every await is a place where another download may go on.
# Look at fetch(): it reads as download() of tinysite.py does, and takes as long; but three take no longer than one.
import asyncio

from tinysite import TinySite, measure


async def fetch(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    response = (await reader.read()).decode()
    writer.close()
    return response.partition("\r\n\r\n")[2]


async def fetch_all(port):
    one, two, three = await asyncio.gather(fetch(port, "/one"), fetch(port, "/two"), fetch(port, "/three"))
    print(one, two, three, sep="", end="")


with TinySite() as site:
    measure(lambda: asyncio.run(fetch_all(site.port)))
