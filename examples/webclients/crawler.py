# Follows the links of the whole site, with three workers and a queue: the
# crawler of "500 Lines or Less", small. Look at add_url and join(): every page is queued once, and when every queued
# page is done there is nothing left to find. Redirects go through the queue too, and carry how many more may follow.
import asyncio
import re

import site_


async def get(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(site_.request(path))
    raw = b""
    while len(raw) <= site_.MAX_ANSWER and (data := await reader.read(4096)):
        raw += data
    writer.close()
    return raw


class Crawler:
    def __init__(self, port):
        self.port = port
        self.queue = asyncio.Queue()
        self.seen = set()
        self.reports = {}

    async def crawl(self):
        self.add_url("/", site_.MAX_REDIRECTS)
        workers = [asyncio.create_task(self.work()) for _ in range(3)]
        await self.queue.join()
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)  # nobody is left behind
        return self.reports

    async def work(self):
        while True:
            path, max_redirect = await self.queue.get()
            raw = await get(self.port, path)
            self.reports[path] = self.report(max_redirect, site_.parse(raw))
            self.queue.task_done()

    def report(self, max_redirect, answer):
        if answer.problem:
            return answer.problem
        if answer.location:
            if max_redirect == 0:
                return "too many redirects"
            self.add_url(answer.location, max_redirect - 1)
            return f"goes to {answer.location}"
        links = re.findall('href="(.*?)"', answer.body)
        for link in links:
            self.add_url(link, site_.MAX_REDIRECTS)
        return f"{answer.status}, {len(links)} links"

    # Of this site, and only once.
    def add_url(self, path, max_redirect):
        if path.startswith("/") and path not in self.seen:
            self.seen.add(path)
            self.queue.put_nowait((path, max_redirect))


async def crawl(port):
    reports = await Crawler(port).crawl()
    for path, report in sorted(reports.items()):
        print(f"{path}: {report}")


with site_.Site() as site:
    asyncio.run(crawl(site.port))
