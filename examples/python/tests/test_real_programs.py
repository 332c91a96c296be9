"""Programs from the distribution's packages on this kernel: aiohttp as server and client, redis.asyncio. Loopback only."""
import asyncio
import contextlib
import io
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import cpploop

try:
    import aiohttp
    from aiohttp import web
except ImportError:
    aiohttp = None
try:
    import redis.asyncio
except ImportError:
    redis = None


def on_kernel(test):
    """The test, a coroutine function, runs on this kernel; it may take a minute."""
    def run(self):
        async def limited():
            self.assertIsInstance(asyncio.get_running_loop(), cpploop.EventLoop)
            async with asyncio.timeout(60):
                await test(self)
        cpploop.run(limited())
    run.__name__ = test.__name__
    return run


@unittest.skipUnless(aiohttp, "there is no aiohttp here (apt-get install python3-aiohttp)")
class Aiohttp(unittest.TestCase):
    """A server and a client that knows nothing of it but its address."""

    async def serve(self):
        self.handled = self.cancelled = 0
        self.entered = asyncio.Event()

        async def hello(request):
            self.handled += 1
            return web.Response(text=f"hello {request.match_info['name']}")

        async def upload(request):
            return web.json_response({"bytes": sum([len(chunk) async for chunk in request.content.iter_chunked(1 << 16)])})

        async def never(request):
            self.entered.set()
            await asyncio.Event().wait()

        async def echo(request):
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(message.data[::-1])
            return socket

        application = web.Application(client_max_size=1 << 26)
        application.add_routes([web.get("/hello/{name}", hello), web.post("/upload", upload), web.get("/never", never),
                                web.get("/echo", echo)])
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=1)
        await site.start()
        return runner, "http://127.0.0.1:%d" % runner.addresses[0][1]

    @contextlib.asynccontextmanager
    async def both(self):
        runner, self.url = await self.serve()
        async with aiohttp.ClientSession() as self.client:
            yield
        await runner.cleanup()

    async def get(self, name):
        async with self.client.get(f"{self.url}/hello/{name}") as response:
            return await response.text()

    @on_kernel
    async def test_a_thousand_requests(self):
        async with self.both():
            for first in range(0, 1000, 50):
                names = [str(n) for n in range(first, first + 50)]
                self.assertEqual(await asyncio.gather(*map(self.get, names)), [f"hello {name}" for name in names])
            self.assertEqual(self.handled, 1000)

    @on_kernel
    async def test_an_upload_of_8_megabytes(self):
        async with self.both():
            async with self.client.post(self.url + "/upload", data=io.BytesIO(bytes(8 << 20))) as response:
                self.assertEqual(await response.json(), {"bytes": 8 << 20})

    @on_kernel
    async def test_a_websocket(self):
        async with self.both():
            async with self.client.ws_connect(self.url + "/echo") as socket:
                for i in range(100):
                    await socket.send_str(f"message {i}")
                for i in range(100):
                    self.assertEqual((await socket.receive()).data, f"message {i}"[::-1])

    @on_kernel
    async def test_cancelled_requests_do_no_harm_to_the_others(self):
        async with self.both():
            waiting = [asyncio.create_task(self.client.get(self.url + "/never")) for _ in range(20)]
            await self.entered.wait()
            for task in waiting:
                task.cancel()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            self.assertEqual({type(outcome) for outcome in outcomes}, {asyncio.CancelledError})
            self.assertEqual(await self.get("x"), "hello x")

    @on_kernel
    async def test_a_request_that_times_out(self):
        async with self.both():
            with self.assertRaises(asyncio.TimeoutError):
                async with self.client.get(self.url + "/never", timeout=aiohttp.ClientTimeout(total=0.05)):
                    pass
            self.assertEqual(await self.get("x"), "hello x")


@unittest.skipUnless(redis, "there is no redis client here (apt-get install python3-redis)")
@unittest.skipUnless(shutil.which("redis-server"), "there is no redis-server here (apt-get install redis-server)")
class Redis(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = str(pathlib.Path(directory.name, "socket"))
        command = ["redis-server", "--port", "0", "--unixsocket", self.path, "--save", "", "--dir", directory.name]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.server.stdout.close)
        self.addCleanup(self.server.wait)
        self.addCleanup(self.server.terminate)
        for line in self.server.stdout:
            if "ready to accept connections" in line.lower():
                return
        self.fail("redis-server did not start")

    @on_kernel
    async def test_commands_a_pipeline_and_many_clients_at_once(self):
        client = redis.asyncio.Redis(unix_socket_path=self.path)
        await client.set("key", "value")
        self.assertEqual(await client.get("key"), b"value")
        async with client.pipeline() as pipeline:
            for i in range(500):
                pipeline.rpush("list", i)
            self.assertEqual(await pipeline.execute(), list(range(1, 501)))
        await asyncio.gather(*[client.incr("counter") for _ in range(200)])
        self.assertEqual(await client.get("counter"), b"200")
        await client.close()
        await client.connection_pool.disconnect()

    @on_kernel
    async def test_a_subscriber_hears_what_is_published(self):
        client = redis.asyncio.Redis(unix_socket_path=self.path)
        async with client.pubsub() as subscriber:
            await subscriber.subscribe("news")
            await subscriber.get_message(timeout=10)
            for i in range(10):
                await client.publish("news", i)
            heard = [(await subscriber.get_message(timeout=10))["data"] for _ in range(10)]
        self.assertEqual(heard, [b"%d" % i for i in range(10)])
        await client.close()
        await client.connection_pool.disconnect()

    @on_kernel
    async def test_a_blocking_command_is_cancelled_by_a_timeout(self):
        client = redis.asyncio.Redis(unix_socket_path=self.path, single_connection_client=False)
        with self.assertRaises(asyncio.TimeoutError):
            await asyncio.wait_for(client.blpop("nothing"), 0.05)
        self.assertTrue(await client.ping())
        await client.close()
        await client.connection_pool.disconnect()


if __name__ == "__main__":
    unittest.main()
