# Future: a result that is not there yet, and who wants to know when it is.
# Look at the two lines of the producer: set_result() calls nobody, it has the callbacks called soon.
import asyncio


def produce(future):
    print("producer: set_result(42)")
    future.set_result(42)
    print("producer: set_result() has returned, and no callback has run")


def first(future):
    print(f"first callback: {future.result()}")


def second(future):
    print(f"second callback: {future.result()}")


def main():
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    try:
        future.result()
    except asyncio.InvalidStateError:
        print("main: the future is pending: result() is an InvalidStateError")

    future.add_done_callback(first)
    future.add_done_callback(second)
    loop.call_later(0.05, produce, future)
    result = loop.run_until_complete(future)
    print(f"main: run_until_complete() waited for it: {result}")

    try:
        future.set_result(43)
    except asyncio.InvalidStateError:
        print("main: a future is done once: a second set_result() is an InvalidStateError")

    failed = loop.create_future()
    loop.call_soon(lambda: failed.set_exception(ValueError("no luck today")))
    try:
        loop.run_until_complete(failed)
    except ValueError as error:
        print(f"main: an exception is a result, too: {error}")
    loop.close()


main()
