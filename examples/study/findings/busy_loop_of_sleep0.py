# Broken on purpose: a task asks again and again whether something has happened, instead of waiting for it.
import asyncio


async def tour():
    arrived = []
    asyncio.get_running_loop().call_later(0.02, arrived.append, True)
    turns = 0
    while turns < 150 or not arrived:
        await asyncio.sleep(0)  # an asyncio.Event would wait
        turns += 1
    print(f"arrived, after more than 100 turns: {turns > 100}")


asyncio.run(tour())
