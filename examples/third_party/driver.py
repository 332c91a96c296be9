#!/usr/bin/env python3
"""Runs the programs of this folder against real servers: driver.py BUILD_DIR NAME... skipped:NAME:PACKAGES...

tests/NAME.py says for each program:
    SERVER       the class of servers.py whose port the program gets as its argument; None: the program needs none
    OUTPUT       what the program and its twin print
    NEEDS        programs without which it is skipped; need not be there
    test_*(run)  more cases; `run` is a Run
`NAME PORT bench` prints lines "LABEL: N operations/s". A line per program: built, server version, cases passed, whether
the twin agrees, operations/s here and there."""
import contextlib
import difflib
import importlib.util
import os
import re
import subprocess
import sys
import time
import traceback

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
import servers  # noqa: E402

LIMIT = 120  # seconds for any program


def expect(condition, why=""):
    if not condition:
        raise AssertionError(why)


def expect_output(output, expected):
    if output != expected:
        lines = difflib.unified_diff(expected.splitlines(), output.splitlines(), "expected", "printed", lineterm="")
        raise AssertionError("\n".join(lines))


class Run:
    """How a test runs its program."""

    def __init__(self, argv):
        self.argv = argv

    def __call__(self, *args):
        """To its end; returns what it printed."""
        argv = [*self.argv, *map(str, args)]
        done = subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
        expect(done.returncode == 0, f"exit status {done.returncode}: {done.stdout[-500:]}{done.stderr[-4000:]}")
        expect(not done.stderr, f"stderr: {done.stderr[-4000:]}")
        return done.stdout

    @contextlib.contextmanager
    def started(self, *args):
        """While it runs. `line()` waits for the next line it prints, `rest()` for its end."""
        pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process = subprocess.Popen([*self.argv, *map(str, args)], cwd=ROOT, **pipes)

        def rest():
            out, err = process.communicate(timeout=LIMIT)
            expect(process.returncode == 0, f"exit status {process.returncode}: {out[-500:]}{err[-4000:]}")
            expect(not err, f"stderr: {err[-4000:]}")
            return out

        process.line = lambda: process.stdout.readline().rstrip("\n")
        process.rest = rest
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def killed(self, server_class, mode="killed", delays=(0.0, 0.02, 0.1), within=3.0):
        """The server is killed while the program asks it: the names of the errors that the program then prints."""
        errors = set()
        for delay in delays:
            with server_class() as server, self.started(server.port, mode) as program:
                expect(program.line() == "asking", "it does not say that it asks")
                time.sleep(delay)
                server.kill()
                start = time.monotonic()
                errors.add(program.rest().strip())
                expect(time.monotonic() - start < within, f"it took {time.monotonic() - start:.1f} s")
        return errors


class Program:
    def __init__(self, build, name):
        self.name = name
        self.run = Run([f"{build}/examples/third_party/{name}"])
        self.twin = Run([servers.PYTHON, f"{HERE}/{name}.py"])
        self.passed, self.failures = 0, []
        self.cells = []
        spec = importlib.util.spec_from_file_location(f"tests_{name}", f"{HERE}/tests/{name}.py")
        self.tests = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.tests)

    def case(self, what, test, *args):
        try:
            test(*args)
            self.passed += 1
            return True
        except servers.Skipped as skipped:
            self.cells.append(f"skipped {skipped}")
            return False
        except Exception as error:
            told = str(error) if isinstance(error, AssertionError) else traceback.format_exc(limit=-4)
            self.failures.append(f"{what}: {told}")
            return False

    def server(self):
        return self.tests.SERVER() if self.tests.SERVER else contextlib.nullcontext()

    def demonstrate(self, run):
        with self.server() as server:
            expect_output(run(*([server.port] if server else [])), self.tests.OUTPUT)

    def say_usage(self):
        """--help is a line; a wrong port is a line after that, and exit status 2."""
        usage, error = f"usage: {self.name} [PORT [MODE]]\n", f'{self.name}: error: PORT is a number from 0 to 65535, not "80000"\n'
        for given, expected in ("--help", (0, usage, "")), ("80000", (2, "", usage + error)):
            done = subprocess.run([*self.run.argv, given], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
            expect((done.returncode, done.stdout, done.stderr) == expected, f"{given}: {done}")

    def check_twin(self):
        if self.case("twin", self.demonstrate, self.twin):
            return "twin agrees"
        absent = re.search(r"ModuleNotFoundError: (No module named .*)", self.failures[-1])
        if absent:
            self.failures.pop()
        return f"twin skipped: {absent[1]}" if absent else "twin DIFFERS"

    def rates(self, run):
        with self.server() as server:
            out = run(server.port if server else 0, "bench")
        return dict(re.findall(r"^(.+): (\d+) operations/s$", out, re.M))

    def bench(self, twin_runs):
        here = self.rates(self.run)
        expect(here and all(int(rate) > 0 for rate in here.values()), "the program printed no operations/s")
        there = self.rates(self.twin) if twin_runs else {}
        for what, rate in here.items():
            beside = f", {int(there[what]):,} there" if what in there else ""
            self.cells.append(f"{what} {int(rate):,}/s here{beside}")

    def check(self, measure):
        for needed in getattr(self.tests, "NEEDS", ()):
            servers.find(needed)
        version = f"{self.tests.SERVER.name} {self.tests.SERVER.version()}" if self.tests.SERVER else "no server"
        self.case("output", self.demonstrate, self.run)
        self.case("usage", self.say_usage)
        for name, test in vars(self.tests).items():
            if name.startswith("test_"):
                self.case(name, test, self.run)
        twin = self.check_twin() if measure else "twin not asked"
        if measure:
            self.case("bench", self.bench, "agrees" in twin)
        failed = f", {len(self.failures)} FAILED" if self.failures else ""
        return f"built  {version}; {self.passed} cases passed{failed}; {twin}; {'; '.join(self.cells)}".rstrip("; ")


def main():
    build, *names = sys.argv[1:]
    failed = False
    for name in names:
        start = time.monotonic()
        if name.startswith("skipped:"):
            _, name, packages = name.split(":")
            print(f"{name:13} skipped  {packages.replace('+', ', ')} is not here (make third-party-deps)")
            continue
        program = Program(build, name)
        try:
            # A sanitizer's speed says nothing.
            verdict = program.check(measure="address" not in build)
        except servers.Missing as missing:
            verdict = f"skipped  {missing}"
        print(f"{name:13} {verdict} ({time.monotonic() - start:.0f} s)", flush=True)
        for failure in program.failures:
            print("    " + failure.replace("\n", "\n    "))
        failed = failed or bool(program.failures)
    print(f"third party: {'FAILED' if failed else 'ok'}")
    sys.exit(failed)


main()
