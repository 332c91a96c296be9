# PostgreSQL's protocol written in Python over a Protocol: asyncpg needs no C library.
# Look at show_timeout: asyncpg stops a query that nobody waits for in the server, too.
import asyncio

import asyncpg
import common


async def connect(port):
    return await asyncpg.connect(host="127.0.0.1", port=port, user="postgres", database="postgres", ssl=False)


async def sqlstate_of(awaitable):
    """The SQLSTATE with which it ends; "none"."""
    try:
        await awaitable
        return "none"
    except asyncpg.PostgresError as error:
        return error.sqlstate


async def show_queries(connection):
    await connection.execute("CREATE TEMPORARY TABLE people (name text PRIMARY KEY, born integer)")
    for name in "Ada", "Grace", "Barbara":
        await connection.execute("INSERT INTO people VALUES ($1, length($1) + 1900)", name)
    for row in await connection.fetch("SELECT name, born, NULL FROM people ORDER BY name"):
        print(*["null" if value is None else value for value in row])


async def show_errors(connection):
    """An error is the end of a query, not of the connection."""
    for sql in "SELEKT 1", "SELECT * FROM nowhere", "SELECT 1/0", "INSERT INTO people VALUES ('Ada')":
        print(f"{sql}: {await sqlstate_of(connection.fetch(sql))}")


async def show_timeout(connection, observer):
    before = await connection.fetchval("SELECT pg_backend_pid()")
    error = await common.error_of(asyncio.wait_for(connection.fetch("SELECT pg_sleep(60)"), 0.1))
    after = await connection.fetchval("SELECT pg_backend_pid()")
    working = await observer.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'")
    print(f"pg_sleep(60): {error}; servers that sleep on: {working}; the same connection: {before == after:d}")


async def show_terminated(connection, observer):
    async def terminate_later(pid):
        await asyncio.sleep(0.1)
        await observer.fetch("SELECT pg_terminate_backend($1)", pid)

    terminator = asyncio.create_task(terminate_later(await connection.fetchval("SELECT pg_backend_pid()")))
    sqlstate = await sqlstate_of(connection.fetch("SELECT pg_sleep(60)"))
    await terminator
    told = sqlstate in ("57P01", "08003")  # whichever asyncpg notices first: the server's last words, or that it is gone
    print(f"terminated: {'yes' if told else sqlstate}; closed: {connection.is_closed():d}")


async def demonstrate(port):
    connection, observer = await connect(port), await connect(port)
    await show_queries(connection)
    await show_errors(connection)
    await show_timeout(connection, observer)
    await show_terminated(connection, observer)
    error = await common.error_of(connect(1))
    print("nobody listens:", "connected" if error == "none" else "refused")
    await observer.close()


async def measure(port):
    connection = await connect(port)
    count = 3000
    one_by_one = common.Stopwatch()
    for i in range(count):
        await connection.fetch("SELECT $1::integer + 1", i)
    one_by_one.report("SELECT one by one", count)
    await connection.close()


asyncio.run(measure(common.PORT) if common.MODE == "bench" else demonstrate(common.PORT))
