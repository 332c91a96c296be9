# The same with what the library has for it: streams in place of sockets, gather in place of tasks.
# Look at gather: the reports come in the order of the URLs, whichever page was there first.
import asyncio

import site_


async def get(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(site_.request(path))
    raw = b""
    while len(raw) <= site_.MAX_ANSWER and (data := await reader.read(4096)):
        raw += data
    writer.close()
    return raw


async def fetch(port, path):
    journey = site_.Journey(path)
    while not journey.arrive(await get(port, journey.path)):
        continue
    return journey.report


async def fetch_all(port):
    reports = await asyncio.gather(*[fetch(port, path) for path in site_.URLS])
    for report in reports:
        print(report)


with site_.Site() as site:
    asyncio.run(fetch_all(site.port))
    print("slow pages at once:", site.most_at_once)
