"""CPython's own tests of asyncio, each module on the stock loop and on this kernel's.

    upstream_tests.py [MODULE...]       the tests of the interpreter that runs this; modules without "test_"

Every test is one of: passed; failed (here, but not on the stock loop: the status is then 1); failing on both loops; skipped by
itself; not applicable, because it looks into or replaces private members of the stock loop. The last are listed by name in
not_applicable.txt, each with its reason. A test that fails is run again alone before it counts: some depend on real time.
"""
import fnmatch
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("PYTHON_BUILD", HERE.parents[2] / "build/python")).resolve()
MODULE_TIMEOUT = 240  # seconds
MEMORY_LIMIT = 4 << 30  # bytes
MODULES_OF_OTHER_SYSTEMS = {"proactor_events", "windows_events", "windows_utils"}


# ---- the child: one module on one loop

class Result(unittest.TestResult):
    """Writes down how each test ended, and how often the kernel ran meanwhile."""

    def __init__(self, runs):
        super().__init__()
        self.runs, self.outcomes, self.started_with = runs, {}, 0

    def startTest(self, test):
        super().startTest(test)
        self.started_with = self.runs[0]
        self.outcomes[test.id()] = ["passed", "", False]

    def stopTest(self, test):
        super().stopTest(test)
        self.outcomes[test.id()][2] = self.runs[0] > self.started_with

    def note(self, test, outcome, text):
        name = getattr(test, "test_case", test).id()  # of a subtest: its test
        self.outcomes.setdefault(name, ["", "", False])[:2] = [outcome, text]

    def addFailure(self, test, err):
        self.note(test, "failed", self._exc_info_to_string(err, test))

    addError = addFailure

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.note(test, "failed", self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        self.note(test, "skipped", reason)

    def addExpectedFailure(self, test, err):
        self.note(test, "passed", "")

    def addUnexpectedSuccess(self, test):
        self.note(test, "failed", "unexpected success")


def put_kernel_into_asyncio():
    """Wherever the tests ask asyncio for a loop, they get one on this kernel. Returns a count of its runs."""
    import asyncio
    from asyncio import base_events

    import cpploop

    runs = [0]

    class Counting(cpploop.OnKernel):
        def _run_until_stopped(self):
            runs[0] += 1
            super()._run_until_stopped()

    class EventLoop(Counting, cpploop.EventLoop):
        pass

    class BaseEventLoop(Counting, base_events.BaseEventLoop):
        pass

    for module in (asyncio, asyncio.unix_events):
        for name in ("SelectorEventLoop", "EventLoop", "_UnixSelectorEventLoop"):
            if hasattr(module, name):
                setattr(module, name, EventLoop)
    asyncio.DefaultEventLoopPolicy._loop_factory = EventLoop
    asyncio.BaseEventLoop = base_events.BaseEventLoop = BaseEventLoop  # also of the tests' TestLoop, with its own clock
    return runs


def child(loop, output, names):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts us in the background has it ignored
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))  # a mocked selector that spins notes every call
    runs = put_kernel_into_asyncio() if loop == "kernel" else [0]
    result = Result(runs)
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    suite.run(result)
    pathlib.Path(output).write_text(json.dumps(result.outcomes))


# ---- the parent

def run(loop, names, timeout=MODULE_TIMEOUT):
    """{test: [outcome, text, whether the kernel ran]}; a module that crashes or hangs is one failure."""
    with tempfile.TemporaryDirectory() as directory:
        output = pathlib.Path(directory, "outcomes")
        environment = dict(os.environ, PYTHONPATH=str(BUILD), TMPDIR=directory)
        command = [sys.executable, "-W", "ignore", __file__, "--child", loop, str(output), *names]
        with subprocess.Popen(command, env=environment, cwd=directory, stdin=subprocess.DEVNULL, text=True, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            try:
                text, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                text = f"ran for more than {timeout} seconds\n" + process.communicate()[0]
        if output.exists():
            return json.loads(output.read_text())
        return {name: ["failed", text[-2000:], False] for name in names}


def again(loop, test, times=2):
    """A failure that does not come back when the test is run alone is none."""
    for _ in range(times):
        outcome = run(loop, [test], 60).get(test)
        if outcome and outcome[0] != "failed":
            return outcome
    return None


def not_applicable():
    """[(module.Class.test pattern, reason)]"""
    found, reason = [], ""
    for line in (HERE / "not_applicable.txt").read_text().splitlines():
        if line.startswith("# "):
            continue
        if line.startswith("    "):
            found.append((line.strip(), reason))
        elif line.strip():
            reason = line.strip()
    return found


def classify(stock, kernel, name, exceptions):
    """What became of one test, and a text about it."""
    ours = kernel.get(name, ["failed", "it did not run on the kernel", False])
    if ours[0] != "failed":
        return ours[0], ours[1]
    for pattern, reason in exceptions:
        if fnmatch.fnmatch(name, f"test.test_asyncio.test_{pattern}"):
            return "not applicable", reason
    if stock.get(name, ["failed"])[0] == "failed" and not again("stock", name):
        return "failing on both", stock.get(name, ["", "it did not run"])[1]
    repeated = again("kernel", name)
    return (repeated[0], repeated[1]) if repeated else ("failed", ours[1])


def compare(module, exceptions):
    names = [f"test.test_asyncio.test_{module}"]
    with ThreadPoolExecutor() as both:
        stock, kernel = both.map(run, ["stock", "kernel"], [names, names])
    if names[0] in kernel:  # it crashed
        return {names[0]: ("failed", kernel[names[0]][1], False)}
    tests = {}
    for name in sorted(set(stock) | set(kernel)):
        outcome, text = classify(stock, kernel, name, exceptions)
        tests[name] = (outcome, text, kernel.get(name, ["", "", False])[2])
    return tests


def modules():
    import test.test_asyncio
    folder = pathlib.Path(test.test_asyncio.__file__).parent
    names = sorted(file.stem.removeprefix("test_") for file in folder.glob("test_*.py"))
    return [name for name in names if name not in MODULES_OF_OTHER_SYSTEMS]


OUTCOMES = ["passed", "failed", "failing on both", "not applicable", "skipped"]


def row(name, tests, seconds=""):
    outcomes = [outcome for outcome, _, _ in tests.values()]
    ran = sum(1 for outcome, _, on_kernel in tests.values() if outcome == "passed" and on_kernel)
    return f"{name:22}{outcomes.count('passed'):8}{ran:11}" + "".join(f"{outcomes.count(o):16}" for o in OUTCOMES[1:]) + seconds


def main(chosen):
    try:
        chosen = chosen or modules()
    except ImportError:
        print(f"{sys.executable} has no test.test_asyncio (Debian: apt-get install libpython3.11-testsuite)", file=sys.stderr)
        return 77
    exceptions = not_applicable()
    print(f"CPython {sys.version.split()[0]}, its own tests of asyncio, on this kernel")
    print(f"{'module':22}{'passed':>8}{'on kernel':>11}" + "".join(f"{o:>16}" for o in OUTCOMES[1:]) + "   seconds")
    everything = {}
    for module in chosen:
        start = time.monotonic()
        tests = compare(module, exceptions)
        print(row(module, tests, f"{time.monotonic() - start:10.1f}"), flush=True)
        everything.update(tests)
    print(row("all", everything))
    for outcome in ("not applicable", "failing on both", "failed"):
        for name, (its_outcome, text, _) in everything.items():
            if its_outcome == outcome:
                lines = text.strip().splitlines() or [""]
                print(f"\n{outcome}: {name}\n    " + ("\n    ".join(lines) if outcome == "failed" else lines[-1]))
    failed = sum(1 for outcome, _, _ in everything.values() if outcome == "failed")
    passed = sum(1 for outcome, _, _ in everything.values() if outcome == "passed")
    print(f"\n{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        sys.exit(main(sys.argv[1:]))
