# A future: a place for a result that comes later, or for an exception.
# Look at who sets it and who gets it: they know the future, not each other.
import asyncio


def on_done(future):
    print(f"callback: the future is done, with {'an exception' if future.exception() else 'a result'}")


async def wait_for_it(future):
    try:
        result = await future
        print(f"result: {result}")
    except RuntimeError as error:
        print(f"exception: {error}")


def main():
    loop = asyncio.new_event_loop()

    future = loop.create_future()
    future.add_done_callback(on_done)
    loop.call_later(0.05, lambda: future.set_result("the future is here"))
    print(f"done: {str(future.done()).lower()}")
    loop.run_until_complete(wait_for_it(future))
    print(f"done: {str(future.done()).lower()}")

    failing = loop.create_future()
    failing.add_done_callback(on_done)
    loop.call_later(0.05, lambda: failing.set_exception(RuntimeError("no future")))
    loop.run_until_complete(wait_for_it(failing))

    try:
        future.set_result("another one")
    except asyncio.InvalidStateError:
        print("a second result is an InvalidStateError")
    loop.close()


main()
