"""What the twins of this folder share: their arguments, names of errors that C++ prints too, and operations/s."""
import errno
import os
import sys
import time

MODE = sys.argv[2] if len(sys.argv) > 2 else ""
UNNUMBERED = {ConnectionAbortedError: errno.ECONNABORTED, ConnectionResetError: errno.ECONNRESET}  # asyncio raises them bare


def port():
    """The first argument. --help is a line; what is wrong is a line after that, and exit status 2."""
    given, name = sys.argv[1] if len(sys.argv) > 1 else "0", os.path.basename(sys.argv[0])
    usage = f"usage: {name} [PORT [MODE]]"
    if given in ("--help", "-h"):
        print(usage)
        sys.exit(0)
    if given.isascii() and given.isdigit() and str(int(given)) == given and int(given) <= 65535:
        return int(given)
    print(f'{usage}\n{name}: error: PORT is a number from 0 to 65535, not "{given}"', file=sys.stderr)
    sys.exit(2)


PORT = port()


def name_of(error):
    """The error's class; for one of the system's also its number, "OSError 111"."""
    if isinstance(error, TimeoutError) and not error.errno:  # asyncio's; in Python the two are one class
        return "TimeoutError"
    if isinstance(error, OSError) and type(error).__module__ == "builtins":
        return f"OSError {error.errno or UNNUMBERED.get(type(error), 0)}"
    return type(error).__name__


async def error_of(awaitable):
    """The name of the error with which it ends, or "none"."""
    try:
        await awaitable
        return "none"
    except Exception as error:
        return name_of(error)


class Stopwatch:
    """Measures from its construction to report()."""

    def __init__(self):
        self.start = time.monotonic()

    def report(self, what, operations):
        print(f"{what}: {int(operations / (time.monotonic() - self.start))} operations/s", flush=True)
