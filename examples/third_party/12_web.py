# What all this is for: a web service in aiohttp, and for each request a query of SQLite's, through aiosqlite.
# `12_web.py 8000 serve` serves until Ctrl-C; without `serve` it asks itself.
# Look at the middleware, and at read_in_time: aiohttp itself waits for a slow client for ever.
import asyncio
import json
import signal
import sqlite3
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite
import common
from aiohttp import web

TIME_LIMIT = 1  # seconds for a handler
COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < CAST(? AS INTEGER)) SELECT count(*) FROM n"


def response(value, status=200):
    text = json.dumps(value, separators=(",", ":"), sort_keys=True) + "\n"
    return web.Response(text=text, status=status, content_type="application/json")


@web.middleware
async def errors_as_json(request, handler):
    try:
        return await handler(request)
    except web.HTTPException as error:
        return response({"error": f"{error.status} {error.reason}"}, error.status)
    except sqlite3.Error:
        return response({"error": "500 Internal Server Error"}, 500)


def read_in_time(patience):
    @web.middleware
    async def middleware(request, handler):
        try:
            await asyncio.wait_for(request.read(), patience)  # the request keeps it
        except asyncio.TimeoutError:
            raise web.HTTPRequestTimeout()
        return await handler(request)

    return middleware


@web.middleware
async def time_limit(request, handler):
    try:
        return await asyncio.wait_for(handler(request), TIME_LIMIT)
    except asyncio.TimeoutError:
        raise web.HTTPServiceUnavailable()


@web.middleware
async def only_friends_delete(request, handler):
    if request.method == "DELETE" and request.headers.get("Authorization") != "Bearer sesame":
        raise web.HTTPUnauthorized()
    return await handler(request)


async def hello(request):
    return response({"message": "hello"})


class People:
    """The handlers of the people's routes; each awaits a query."""

    def __init__(self, database):
        self.database = database

    async def query(self, sql, *parameters):
        try:
            return list(await self.database.execute_fetchall(sql, parameters))
        except asyncio.CancelledError:
            self.database._conn.interrupt()  # database.interrupt() would wait for the thread first
            raise

    async def list(self, request):
        rows = await self.query("SELECT name, born FROM people ORDER BY name")
        return response([{"name": name, "born": born} for name, born in rows])

    async def get(self, request):
        rows = await self.query("SELECT name, born FROM people WHERE name = ?", request.match_info["name"])
        if not rows:
            raise web.HTTPNotFound()
        return response(dict(zip(["name", "born"], rows[0])))

    async def add(self, request):
        try:
            value = await request.json()
        except json.JSONDecodeError:
            raise web.HTTPBadRequest()
        name, born = (value.get("name"), value.get("born")) if isinstance(value, dict) else (None, None)
        if not (type(name) is str and type(born) is int and abs(born) < 10000):
            raise web.HTTPUnprocessableEntity()
        try:
            await self.query("INSERT INTO people VALUES (?, ?)", name, born)
        except sqlite3.IntegrityError:
            raise web.HTTPConflict()
        return response(value, 201)

    async def remove(self, request):
        rows = await self.query("DELETE FROM people WHERE name = ? RETURNING name", request.match_info["name"])
        if not rows:
            raise web.HTTPNotFound()
        return response({"removed": rows[0][0]})

    async def count(self, request):
        limit = request.match_info["limit"]
        if not limit.isdecimal() or len(limit) > 18:
            raise web.HTTPBadRequest()
        rows = await self.query(COUNT, limit)
        return response({"count": rows[0][0]})

    async def broken(self, request):
        await self.query("SELECT * FROM nowhere")


def make_application(people, patience):
    middlewares = [errors_as_json, read_in_time(patience), time_limit, only_friends_delete]
    application = web.Application(middlewares=middlewares)
    application.add_routes([
        web.get("/", hello),
        web.get("/people", people.list),
        web.get("/people/{name}", people.get),
        web.post("/people", people.add),
        web.delete("/people/{name}", people.remove),
        web.get("/count/{limit}", people.count),
        web.get("/broken", people.broken),
    ])
    return application


@asynccontextmanager
async def service(port, patience):
    """The port, while the service is there."""
    async with aiosqlite.connect(":memory:") as database:
        await database.execute("CREATE TABLE people (name TEXT PRIMARY KEY, born INTEGER)")
        runner = web.AppRunner(make_application(People(database), patience), access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port, shutdown_timeout=0.1).start()
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()


async def say(port, words):
    """Status and body of the answer to what the client says."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(words.encode())
    answer = (await asyncio.wait_for(reader.read(), 5)).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return f"{head[9:12]} {body}"


def request(line, body="", headers=""):
    return (f"{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}"
            f"Content-Length: {len(body)}\r\n\r\n{body}")


async def show(port, line, body="", headers=""):
    answer = await say(port, request(line, body, headers))
    print(f"{line}{' ' if body else ''}{body}: {answer}", end="")


async def show_service(port):
    await show(port, "GET /")
    await show(port, "POST /people", '{"born": 1906, "name": "Grace Hopper"}')
    await show(port, "POST /people", '{"born": 1815, "name": "Ada"}')
    await show(port, "GET /people")
    await show(port, "GET /people/Grace%20Hopper")
    await show(port, "DELETE /people/Ada")
    await show(port, "DELETE /people/Ada", "", "Authorization: Bearer sesame\r\n")


async def show_errors(port):
    await show(port, "POST /people", '{"born": 1906, "name": "Grace Hopper"}')
    await show(port, "POST /people", '{"born": 1906, "name')
    await show(port, "POST /people", '{"born": "long ago"}')
    await show(port, "GET /people/Nobody")
    await show(port, "GET /nowhere")
    await show(port, "PUT /people")
    await show(port, "GET /broken")


async def show_slow_query(port):
    """A query that is too slow is given up, also by the thread that computes: the next one is answered at once."""
    await show(port, "GET /count/1000")
    await show(port, "GET /count/1000000000")
    start = asyncio.get_running_loop().time()
    await show(port, "GET /count/10")
    print(f"at once: {asyncio.get_running_loop().time() - start < TIME_LIMIT:d}")


async def status_from(reader):
    """The first line says it; a server may wait for the rest of the request before it ends the connection."""
    line = await asyncio.wait_for(reader.readline(), 5)
    return line.decode()[9:12]


async def show_slow_clients(port):
    """Whoever is slow has a task and a connection of their own, for a while; the others do not notice."""
    whole = request("POST /people", '{"born": 1912, "name": "Alan"}')
    never_reader, never_writer = await asyncio.open_connection("127.0.0.1", port)
    never_writer.write(whole[:-1].encode())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for c in whole[:100]:
        writer.write(c.encode())
        await asyncio.sleep(0.001)
    await show(port, "GET /")
    writer.write(whole[100:].encode())
    print("who sends byte by byte:", await status_from(reader))
    print("who keeps back the last byte:", await status_from(never_reader))
    writer.close()
    never_writer.close()


async def demonstrate():
    async with service(0, 1) as port:
        await show_service(port)
        await show_errors(port)
        await show_slow_query(port)
        await show_slow_clients(port)


async def serve(port):
    async with service(port, 15) as port:
        stop = asyncio.Event()
        for signum in signal.SIGINT, signal.SIGTERM:
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        print(f"serving http://127.0.0.1:{port}/", flush=True)
        await stop.wait()


async def measure_url(what, url):
    """Requests per second, as wrk counts them in a second with 20 connections."""
    wrk = await asyncio.create_subprocess_exec("wrk", "-t1", "-c20", "-d1s", url, stdout=asyncio.subprocess.PIPE)
    output = (await wrk.communicate())[0].decode()
    _, label, rest = output.partition("Requests/sec:")
    if not label or "Non-2xx" in output:
        raise RuntimeError(f"wrk says {output}")
    print(f"{what}: {int(float(rest.split()[0]))} operations/s", flush=True)


async def measure_json_server(program):
    """The program of examples/http, one process of it: what asyncio does without framework and database."""
    server = await asyncio.create_subprocess_exec(sys.executable, program, "0", "1", stdout=asyncio.subprocess.PIPE)
    try:
        line = (await server.stdout.readline()).decode()
        await measure_url("json_server", line.split()[1])
    finally:
        server.terminate()
        await server.wait()


async def measure():
    async with service(0, 5) as port:
        await say(port, request("POST /people", '{"born": 1815, "name": "Ada"}'))
        await measure_url("GET /", f"http://127.0.0.1:{port}/")
        await measure_url("GET /people/Ada (a query)", f"http://127.0.0.1:{port}/people/Ada")
    await measure_json_server(Path(__file__).parent / "../http/json_server.py")


if common.MODE == "bench":
    asyncio.run(measure())
elif common.MODE == "serve":
    asyncio.run(serve(common.PORT))
else:
    asyncio.run(demonstrate())
