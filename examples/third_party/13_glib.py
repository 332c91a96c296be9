# Two loops, one thread: GLib's main loop waits for both, by a selector of ours.
# Look at Selector.select: GLib's callbacks run inside it, so whoever blocks, blocks everybody.
import asyncio
import math
import selectors
import time

import common
import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402


class Selector(selectors._BaseSelectorImpl):
    """Waits in the thread's default main context."""

    def __init__(self):
        super().__init__()
        self.sources, self.ready = {}, []
        self.context = GLib.MainContext.default()

    def register(self, fileobj, events, data=None):
        key = super().register(fileobj, events, data)
        conditions = GLib.IOCondition.HUP | GLib.IOCondition.ERR
        if events & selectors.EVENT_READ:
            conditions |= GLib.IOCondition.IN
        if events & selectors.EVENT_WRITE:
            conditions |= GLib.IOCondition.OUT
        self.sources[key.fd] = GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, key.fd, conditions, self.happened)
        return key

    def unregister(self, fileobj):
        key = super().unregister(fileobj)
        GLib.source_remove(self.sources.pop(key.fd))
        return key

    def happened(self, fd, conditions):
        key = self._fd_to_key[fd]
        events = selectors.EVENT_READ if conditions & ~GLib.IOCondition.OUT else 0
        events |= selectors.EVENT_WRITE if conditions & ~GLib.IOCondition.IN else 0
        self.ready.append((key, events & key.events))
        return True

    def select(self, timeout=None):
        """One round of GLib's loop, which may run other sources' callbacks, and then returns early."""
        self.ready = []
        waits = timeout is None or timeout > 0
        timer = None
        if timeout is not None and timeout > 0:
            timer = GLib.timeout_source_new(math.ceil(timeout * 1000))
            timer.set_callback(lambda *_: False)
            timer.attach(self.context)
        self.context.iteration(waits)
        if timer is not None:
            timer.destroy()
        return self.ready


class Ticker:
    """A timer of GLib's that counts, every 10 ms, and notices how long it had to wait."""

    def __enter__(self):
        self.ticks, self.longest_gap, self.last = 0, 0, time.monotonic()
        self.source = GLib.timeout_add(10, self.tick)
        return self

    def tick(self):
        now = time.monotonic()
        self.longest_gap, self.last = max(self.longest_gap, now - self.last), now
        self.ticks += 1
        return True

    def __exit__(self, *_):
        GLib.source_remove(self.source)


async def load(path):
    """The bytes of a file, by GIO, which has threads for it."""
    contents = asyncio.get_running_loop().create_future()
    cancellable = Gio.Cancellable()

    def done(file, result):
        try:
            loaded, error = file.load_contents_finish(result)[1], None
        except GLib.Error as failed:
            loaded, error = None, failed
        if not contents.done():
            contents.set_exception(error) if error else contents.set_result(loaded)

    Gio.File.new_for_path(path).load_contents_async(cancellable, done)
    try:
        return await contents
    finally:
        cancellable.cancel()


async def show_both():
    with Ticker() as ticker:
        for _ in range(20):
            await asyncio.sleep(0.01)
    print(f"20 sleeps of ours, and GLib's timer ticked: {ticker.ticks >= 5:d}")


async def show_wake():
    """A callback of GLib's wakes a task; a task gives GLib something to do."""
    news = asyncio.get_running_loop().create_future()
    GLib.idle_add(lambda: news.set_result("set in an idle callback"))
    print("a future:", await news)


async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)


async def ask(streams, line):
    streams[1].write(line + b"\n")
    return (await streams[0].readline()).decode().rstrip("\n")


async def show_sockets():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    streams = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    print("our sockets, polled by GLib:", await ask(streams, b"hello"))
    streams[1].close()
    server.close()


async def show_gio():
    print(f"a file, by GIO: {len(await load('/proc/self/comm')) > 0:d}")
    print("no such file:", await common.error_of(load("/nowhere/at/all")))


def compute():
    time.sleep(0.2)


async def longest_of_ours(seconds):
    loop = asyncio.get_running_loop()
    longest, last = 0, loop.time()
    end = last + seconds
    while last < end:
        await asyncio.sleep(0.01)
        longest, last = max(longest, loop.time() - last), loop.time()
    return longest


async def show_who_blocks_whom():
    """Who computes for 0.2 s in this thread stops the others for as long."""
    GLib.idle_add(compute)
    print(f"a callback of GLib's computes; our tasks wait: {await longest_of_ours(0.3) >= 0.2:d}")
    with Ticker() as ticker:
        compute()
        await asyncio.sleep(0.05)
    print(f"a task computes; GLib's timer waits: {ticker.longest_gap >= 0.2:d}")
    with Ticker() as ticker:
        start = time.monotonic()
        await asyncio.get_running_loop().run_in_executor(None, compute)
        computed = time.monotonic() - start >= 0.2
    print(f"a thread computes: {computed:d}; GLib's timer ticks on: {ticker.ticks >= 5:d}")


async def demonstrate():
    await show_both()
    await show_wake()
    await show_sockets()
    await show_gio()
    await show_who_blocks_whom()


async def measure():
    rounds = common.Stopwatch()
    for _ in range(20000):
        await asyncio.sleep(0)
    rounds.report("rounds of both loops", 20000)
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    streams = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    messages = common.Stopwatch()
    for _ in range(3000):
        await ask(streams, b"hello")
    messages.report("messages", 3000)
    streams[1].close()
    server.close()


with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(Selector())) as runner:
    runner.run(measure() if common.MODE == "bench" else demonstrate())
