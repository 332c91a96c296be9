# What the programs share that take arguments or serve, so that each can be about its subject: how it is called, how it
# ends, and what it does when descriptors run out. The twin of program.hpp.
import errno
import os
import re
import signal
import sys

SIGNALS = signal.SIGINT, signal.SIGTERM


class Arguments:
    """The arguments by number, from 0. The usage, such as "[PORT [quiet]]", names them: no more are taken than it has
    words, and a word in small letters can only be given as it is. ValueError says what is wrong."""

    def __init__(self, usage):
        self.names = usage.replace("[", "").replace("]", "").split()
        self.values = sys.argv[1:]
        for i, value in enumerate(self.values):
            if i >= len(self.names) or (self.names[i].islower() and value != self.names[i]):
                raise ValueError(f'unexpected argument "{value}"')

    def given(self, i):
        return i < len(self.values)

    def text(self, i, otherwise):
        return self.values[i] if self.given(i) else otherwise

    def number(self, i, otherwise, least, most):
        if not self.given(i):
            return otherwise
        digits = self.values[i]
        if re.fullmatch("[0-9]{1,9}", digits) and least <= int(digits) <= most:
            return int(digits)
        raise ValueError(f'{self.names[i]} is a number from {least} to {most}, not "{digits}"')

    def port(self, otherwise):
        """The first one. Port 0: the kernel takes a free one."""
        return self.number(0, otherwise, 0, 65535)


def run(usage, body):
    """The program: calls body(arguments). --help prints the usage. What is wrong outside of it, an argument, a port, a
    file, is a line after the usage, and exit status 2."""
    name = os.path.basename(sys.argv[0])
    line = f"usage: {name} {usage}".rstrip()
    if "--help" in sys.argv or "-h" in sys.argv:
        return print(line)
    try:
        body(Arguments(usage))
    except (ValueError, OSError, EOFError, RuntimeError) as error:
        print(f"{line}\n{name}: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell says it


def say_signal(signum):
    os.write(1, f"{signal.Signals(signum).name}: ends\n".encode())  # a print() may be under way


def end_on_signals():
    """For programs without a loop, which have nothing to tidy up: SIGINT and SIGTERM end them."""

    def on_signal(signum, _):
        say_signal(signum)
        os._exit(0)

    for signum in SIGNALS:
        signal.signal(signum, on_signal)


def stop_on_signals(loop, stop):
    """For programs on a loop: the first SIGINT or SIGTERM has the loop call stop(). Who is still busy half a second later
    is ended, and so is, at once, who gets a second signal."""

    def on_first_signal(signum, _):
        say_signal(signum)
        for second in SIGNALS:
            signal.signal(second, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
        signal.setitimer(signal.ITIMER_REAL, 0.5)

    for signum in SIGNALS:
        loop.add_signal_handler(signum, stop)
        signal.signal(signum, on_first_signal)  # the loop hears of the signal all the same: it has set_wakeup_fd()


def out_of_descriptors(error, said=[]):
    """Is this why accept() failed: no descriptor is left for a client? Says so once. The client stays in the queue, so
    the server stays readable: who tries again at once spins. Wait a second."""
    if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
        return False
    if not said:
        said.append(True)
        print(f"cannot accept: {os.strerror(error.errno)}; tries again every second", file=sys.stderr, flush=True)
    return True


def report_once(loop):
    """asyncio's servers wait by themselves, and report every attempt to the loop's exception handler: once is enough."""

    def on_exception(loop, context):
        error = context.get("exception")
        if not (isinstance(error, OSError) and out_of_descriptors(error)):
            loop.default_exception_handler(context)

    loop.set_exception_handler(on_exception)
