# The same c-ares through aiodns: its sock_state_cb calls add_reader and add_writer, as dns.hpp does.
# Look at DNSResolver._timer_cb in aiodns/__init__.py beside dns.hpp: the two are the same adapter, but for the timer.
import asyncio

import aiodns
import common
import pycares


def resolver_of(port, timeout=1, tries=2):
    return aiodns.DNSResolver(nameservers=["127.0.0.1"], udp_port=port, tcp_port=port, timeout=timeout, tries=tries,
                              flags=pycares.ARES_FLAG_NOSEARCH)


async def show(resolver, name):
    try:
        addresses = sorted(record.host for record in await resolver.query(name, "A"))
        answer = f"{len(addresses)}, the first is {addresses[0]}"
    except aiodns.error.DNSError as error:
        answer = error.args[1]
    print(f"{name}: {answer}")


async def query_many(resolver, count):
    """100 are under way at a time: more would overflow the server's socket, and UDP loses them."""
    limit = asyncio.Semaphore(100)
    found = set()

    async def query_some(name):
        async with limit:
            found.update(record.host for record in await resolver.query(name, "A"))

    await asyncio.gather(*[query_some(f"n{i}.many.test") for i in range(count)])
    return found


async def show_silence():
    """A socket that nobody reads. The library waits 0.1 s, then 0.2 s more, and gives up; but aiodns calls it
    once a second only, so it notices that later."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    resolver = resolver_of(transport.get_extra_info("sockname")[1], 0.1)
    start = loop.time()
    await show(resolver, "silent.test")
    passed = loop.time() - start
    print("after", "both tries" if 0.29 <= passed < 4 else f"{passed} s")
    error = await common.error_of(asyncio.wait_for(resolver.query("silent.test", "A"), 0.05))
    print(f"and if we do not wait so long: {error}")
    resolver.cancel()
    transport.close()


async def demonstrate(port):
    resolver = resolver_of(port)
    for name in "one.test", "two.test", "missing.test", "big.test":
        await show(resolver, name)
    found = await query_many(resolver, 1000)
    print(f"1000 queries: {len(found)} address, {min(found)}")
    await show_silence()
    await show(resolver_of(1), "one.test")


async def measure(port):
    resolver = resolver_of(port)
    one_by_one = common.Stopwatch()
    for _ in range(2000):
        await resolver.query("one.test", "A")
    one_by_one.report("query", 2000)
    together = common.Stopwatch()
    await query_many(resolver, 5000)
    together.report("100 queries at a time", 5000)


asyncio.run(measure(common.PORT) if common.MODE == "bench" else demonstrate(common.PORT))
