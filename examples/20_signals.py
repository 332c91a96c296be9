# Signals: a handler that the loop calls is ordinary code; and Ctrl-C under run() is a cancellation.
# Look at the order: raise() has returned before the handler runs, for that is a callback like any other. Then at
# SIGINT, which nobody handles: main is cancelled, tidies up, and run() ends with KeyboardInterrupt.
import asyncio
import signal


async def handlers():
    loop = asyncio.get_running_loop()
    received = 0
    terminated = asyncio.Event()

    def on_signal():
        nonlocal received
        received += 1
        print(f"handler: SIGUSR1, number {received}")

    def on_terminate():
        print("handler: SIGTERM, time to go")
        terminated.set()

    loop.add_signal_handler(signal.SIGUSR1, on_signal)
    loop.add_signal_handler(signal.SIGTERM, on_terminate)
    for n in (1, 2):
        signal.raise_signal(signal.SIGUSR1)
        print(f"main: raise() has returned; handled so far: {received}")
        await asyncio.sleep(0.01)
    loop.call_later(0.01, signal.raise_signal, signal.SIGTERM)
    await terminated.wait()
    removed, again = loop.remove_signal_handler(signal.SIGUSR1), loop.remove_signal_handler(signal.SIGUSR1)
    loop.remove_signal_handler(signal.SIGTERM)
    print(f"main: handler removed: {str(removed).lower()}, and once more: {str(again).lower()}")


async def interrupted():
    try:
        signal.raise_signal(signal.SIGINT)  # as the terminal does at Ctrl-C
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        print("main: cancelled by SIGINT; there is time to tidy up")
        await asyncio.sleep(0.01)
        raise


asyncio.run(handlers())
try:
    asyncio.run(interrupted())
except KeyboardInterrupt:
    print("run() raised KeyboardInterrupt")
