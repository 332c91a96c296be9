# The client that Python's users use: motor, which runs the blocking pymongo in threads.
# Look at show_many: each of the hundred askers needs a connection and a thread here.
import asyncio

import common
import motor.motor_asyncio
from pymongo.errors import OperationFailure


async def show_documents(database):
    await database.people.delete_many({})
    result = await database.people.insert_many([{"name": name} for name in ("Ada", "Grace", "Barbara")])
    found = await database.people.find().sort("name", 1).to_list(10)
    print(f"inserted {len(result.inserted_ids)}:", *[person["name"] for person in found])


async def echo(database, text):
    return (await database.command("echo", text))["echo"]


async def show_many(database):
    answers = await asyncio.gather(*[echo(database, str(i)) for i in range(100)])
    print(f"100 askers at once: {sum(answer == str(i) for i, answer in enumerate(answers))} get their own answer")


async def show_failures(database):
    try:
        await database.command("fail", 1)
    except OperationFailure as error:
        print("ok: 0:", error.code, error.details["errmsg"])
    error = await common.error_of(asyncio.wait_for(database.command("sleep", 200), 0.05))
    print(f"a slow command: {error}; the next one: {await echo(database, 'mine')}")
    print("wrong length:", await common.error_of(database.command("frame", 7)))


async def demonstrate(port):
    database = motor.motor_asyncio.AsyncIOMotorClient("127.0.0.1", port).test
    await show_documents(database)
    await show_many(database)
    await show_failures(database)


async def measure(port):
    database = motor.motor_asyncio.AsyncIOMotorClient("127.0.0.1", port).test

    async def ping_many(count):
        for _ in range(count):
            await database.command("ping", 1)

    one_by_one = common.Stopwatch()
    await ping_many(1000)
    one_by_one.report("ping", 1000)
    together = common.Stopwatch()
    await asyncio.gather(*[ping_many(100) for _ in range(20)])
    together.report("ping by 20 askers", 2000)


asyncio.run(measure(common.PORT) if common.MODE == "bench" else demonstrate(common.PORT))
