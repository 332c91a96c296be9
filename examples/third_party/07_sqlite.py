# A library that blocks: Python's sqlite3, in a thread of its own, as aiosqlite runs it.
# Look at execute: aiosqlite does not interrupt a statement that nobody waits for any more; we must.
import asyncio
import sqlite3

import aiosqlite
import common

# Counts to a thousand million: about a minute.
SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) FROM n"


async def execute(database, sql, parameters=()):
    try:
        return await database.execute_fetchall(sql, parameters)
    except asyncio.CancelledError:
        database._conn.interrupt()  # database.interrupt() would wait for the thread first
        raise


async def show_statements(database):
    await execute(database, "CREATE TABLE people (name TEXT PRIMARY KEY, born INTEGER)")
    for name in "Ada", "Grace", "Barbara":
        await execute(database, "INSERT INTO people VALUES (?, 1900 + length(?1))", (name,))
    for row in await execute(database, "SELECT name, born, NULL FROM people ORDER BY name"):
        print(*row)


async def show_errors(database):
    for sql in "SELEKT 1", "SELECT * FROM nowhere", "INSERT INTO people VALUES ('Ada', 1815)":
        try:
            await execute(database, sql)
        except sqlite3.Error as error:
            print(f"{sql}: {type(error).__name__}: {error}")


async def show_interrupt(database):
    """The loop goes on while the thread computes; and when nobody waits any more, the thread stops."""
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    error = await common.error_of(asyncio.wait_for(execute(database, SLOW), 0.2))
    ticking.cancel()
    start = asyncio.get_running_loop().time()
    rows = await execute(database, "SELECT count(*) FROM people")
    at_once = asyncio.get_running_loop().time() - start < 1
    print(f"a slow statement: {error}; the loop went on: {ticks > 2:d}; people, at once: {rows[0][0]} {at_once:d}")


async def demonstrate():
    async with aiosqlite.connect(":memory:") as database:
        await show_statements(database)
        await show_errors(database)
        await show_interrupt(database)
    try:
        async with aiosqlite.connect("/nowhere/at/all"):
            pass
    except sqlite3.Error as error:
        print("a file that cannot be:", common.name_of(error))


async def measure():
    async with aiosqlite.connect(":memory:") as database:
        await execute(database, "CREATE TABLE numbers (n INTEGER PRIMARY KEY, text TEXT)")
        inserting = common.Stopwatch()
        for i in range(3000):
            await execute(database, "INSERT INTO numbers VALUES (?, ?)", (i, str(i)))
        inserting.report("INSERT", 3000)
        selecting = common.Stopwatch()
        for i in range(3000):
            await execute(database, "SELECT text FROM numbers WHERE n = ?", (i,))
        selecting.report("SELECT", 3000)


asyncio.run(measure() if common.MODE == "bench" else demonstrate())
