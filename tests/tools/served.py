# What the end-to-end tests of the example servers share: start a program, check what it does, end it. Standard library
# only.
import os
import re
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
counts = {"ok": 0, "FAILED": 0}
reporting = threading.Lock()


def expect(condition, why):
    if not condition:
        raise AssertionError(why)


def check(name, test, *args):
    """Runs a test and reports it."""
    try:
        test(*args)
        verdict, why = "ok", ""
    except Exception as error:
        verdict, why = "FAILED", f": {type(error).__name__}: {error}"
    with reporting:
        counts[verdict] += 1
        print(f"  {verdict:7} {name}{why}", flush=True)


def patiently(test, *args, attempts=4):
    """For what a busy machine can spoil: it has to come out right once."""
    for attempt in range(attempts):
        try:
            return test(*args)
        except (AssertionError, TimeoutError, subprocess.TimeoutExpired):
            if attempt == attempts - 1:
                raise
            time.sleep(1)


def command(build, name):
    """How to run an example (build folder) or its twin (None)."""
    return [sys.executable, f"examples/{name}.py"] if build is None else [f"{build}/examples/{name}"]


class Served:
    """A server on a port of its own, from its first line to its end by a signal."""

    def __init__(self, argv, signum=signal.SIGINT):
        self.argv, self.signum, self.output = argv, signum, None
        self.statuses = {0}

    def __enter__(self):
        pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.process = subprocess.Popen(self.argv, cwd=ROOT, start_new_session=True, **pipes)
        self.watchdog = threading.Timer(120, self.kill)
        self.watchdog.daemon = True
        self.watchdog.start()
        self.first_line = self.process.stdout.readline()
        match = re.search(r"127\.0\.0\.1[: ](\d+)", self.first_line)
        if not match:
            self.kill()
            raise AssertionError(f"no address in the first line {self.first_line!r}: {self.process.stderr.read()}")
        self.port = int(match[1])
        return self

    def kill(self):
        """With its children, which are in its group."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def end(self, signals=None):
        """Sends it the signal, or several, and gives the seconds that it takes to end."""
        start = time.monotonic()
        for signum in signals or [self.signum]:
            if self.process.poll() is None:
                self.process.send_signal(signum)
            time.sleep(0.1 if signals else 0)
        try:
            self.output, self.errors = self.process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running 15 s after {self.signum.name}")
        finally:
            self.watchdog.cancel()
        return time.monotonic() - start

    def __exit__(self, error, *_):
        if self.output is None:
            self.end()
        if error:
            return
        expect(self.process.returncode in self.statuses, f"exit status {self.process.returncode}: {self.errors}")
        expect(not self.errors, f"said: {self.errors}")


def summary(what):
    print(f"{what}: {counts['ok']} passed, {counts['FAILED']} failed")
    sys.exit(counts["FAILED"] != 0)
