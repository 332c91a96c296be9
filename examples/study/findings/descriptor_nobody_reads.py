# Broken on purpose: a reader is called because there is something to read, and does not read it.
import asyncio
import os


def main():
    read_end, write_end = os.pipe()
    loop = asyncio.new_event_loop()
    calls = 0

    def on_readable():
        nonlocal calls
        calls += 1
        if calls < 50:
            return  # os.read() is missing: the selector will report the descriptor again, at once
        print(f"called {calls} times for the same 5 bytes")
        loop.remove_reader(read_end)
        loop.stop()

    loop.add_reader(read_end, on_readable)
    os.write(write_end, b"hello")
    loop.run_forever()
    loop.close()


main()
