"""Runs the rules and the golden programs against a student's version, and says what is broken first."""
import dataclasses
import os
import pathlib
import re
import resource
import signal
import subprocess
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests/differential/golden.txt"
LIMIT = float(os.environ.get("LIMIT") or 10)  # seconds in which one rule, or one program, must come to an end
MEMORY_LIMIT = 4 << 30  # bytes
# Not those that compare real times: a busy machine would break what holds.
RULES = "~[.]~[many]"
MEANING = {
    "SIGSEGV": "a null or dangling pointer was used, or a recursion has no end",
    "SIGABRT": "std::terminate or an assertion: an exception left a noexcept function, or an index is out of range",
    "SIGFPE": "a division by zero",
    "SIGILL": "an illegal instruction: a function that returns a value ended without one, or g++ 12 compiled a coroutine wrongly (README.md)",
    "SIGBUS": "a pointer to no memory was used",
    "SIGKILL": "killed from outside: was the memory used up?",
}


@dataclasses.dataclass
class Broken:
    """A rule that does not hold."""
    rule: str
    place: str  # file:line
    seen: list  # what the test saw, in lines


@dataclasses.dataclass
class Verdict:
    rules: int = 0  # that were run
    broken: list = dataclasses.field(default_factory=list)
    unfinished: bool = False  # a crash or an endless loop has kept the rest of a file from running


@dataclasses.dataclass
class Difference:
    """A golden program that runs differently."""
    program: str
    upstream: str
    ours: str
    why: str = ""  # the trace ends early: how


def limits():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Watch:
    """Says whether a process that should get on does not. A busy machine does not count: what is measured is the time
    that it computes, and the time that it sleeps."""

    def __init__(self, pid):
        self.pid = pid
        self.progress()

    def progress(self):
        self.used, self.slept, self.looked = self.computed()[1], 0.0, time.monotonic()

    def computed(self):
        try:
            fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError, ValueError):
            return "", 0.0

    def stuck(self):
        """How; "" if it is not."""
        state, used = self.computed()
        now = time.monotonic()
        if state == "S":
            self.slept += min(now - self.looked, 0.5)
        self.looked = now
        if used - self.used > LIMIT:
            return f"it computes for more than {LIMIT:g} seconds: an endless loop"
        if self.slept > LIMIT:
            return f"it waits for more than {LIMIT:g} seconds: nobody wakes it"
        return ""


def end(process):
    """Catch2 says on SIGTERM which test was running; it is given a moment for that."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            process.send_signal(number)
            process.wait(2)
            return
        except subprocess.TimeoutExpired:
            continue


def run_rules(binary, tests, folder, all_of_them=True, environment=None):
    """The rules of these files of tests, in their order. Not all of them: up to the first that is broken."""
    verdict = Verdict()
    for name in tests:
        run_file(binary, name, folder, verdict, all_of_them, environment)
        if verdict.broken and not all_of_them:
            break
    return verdict


def run_file(binary, name, folder, verdict, all_of_them, environment):
    log, errors = folder / f"{name}.xml", folder / f"{name}.stderr"
    command = [str(binary), "-#", "--order", "decl", "--reporter", "xml", *([] if all_of_them else ["--abort"]),
               f"[#{name}]{RULES}"]
    with open(log, "wb") as output, open(errors, "wb") as error_output:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=error_output,
                                   env={**os.environ, **(environment or {})}, preexec_fn=limits)
        stuck = wait(process, log)
    running = read_report(log.read_text(encoding="utf-8", errors="replace"), verdict)
    if stuck or process.returncode < 0:
        verdict.unfinished = True
        seen = [stuck] if stuck else crash(process.returncode, errors)
        verdict.broken = [each for each in verdict.broken if each is not running]
        verdict.broken.append(Broken(running.rule, running.place, seen) if running else Broken("(before the first rule)", name, seen))
    elif process.returncode and not verdict.broken:
        verdict.broken.append(Broken(f"(the tests of {name} end with status {process.returncode})", name, tail(errors)))


def wait(process, log):
    """Until it has ended, or is stuck: then how."""
    watch, size = Watch(process.pid), 0
    while process.poll() is None:
        time.sleep(0.02)
        if log.stat().st_size != size:
            size = log.stat().st_size
            watch.progress()
        if stuck := watch.stuck():
            end(process)
            return stuck
    return ""


def crash(status, errors):
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return [f"crash, {name}: {MEANING.get(name, 'see signal(7)')}", *tail(errors)]


def tail(path):
    return path.read_text(encoding="utf-8", errors="replace").splitlines()[-6:]


def read_report(text, verdict):
    """Adds what Catch2's XML says, which may end in the middle. Returns the rule that was running then."""
    parser = ElementTree.XMLPullParser(["start", "end"])
    running = None
    try:
        parser.feed(text)
        for event, element in parser.read_events():
            if event == "start" and element.tag == "TestCase":
                place = f"{element.get('filename', '')}:{element.get('line', '')}".replace(f"{ROOT}/", "")
                running = Broken(element.get("name", "?"), place, [])
                verdict.rules += 1
            elif event == "end" and running:
                note(element, running)
                if element.tag == "TestCase":
                    running = finish(element, running, verdict)
    except ElementTree.ParseError:
        pass
    return running


def note(element, running):
    """What a failed check says; only the first of a rule."""
    text = " ".join((element.text or "").split())
    if element.tag == "Expression" and element.get("success") == "false" and not running.seen:
        parts = {child.tag: " ".join((child.text or "").split()) for child in element}
        running.place = f"{element.get('filename', '')}:{element.get('line', '')}".replace(f"{ROOT}/", "")
        running.seen = [f"{element.get('type', 'CHECK')}( {parts.get('Original', '')} )"]
        if parts.get("Expanded") not in (None, parts.get("Original")):
            running.seen.append(f"was        {parts['Expanded']}")
        if parts.get("Exception"):
            running.seen.append(f"exception  {parts['Exception']}")
    elif element.tag in ("Exception", "FatalErrorCondition", "Failure") and text and not running.seen:
        running.place = f"{element.get('filename', '')}:{element.get('line', '')}".replace(f"{ROOT}/", "")
        running.seen = [text if element.tag == "Failure" else f"exception: {text}"]


def finish(element, running, verdict):
    results = [child for child in element if child.tag == "OverallResult"]
    if results and results[0].get("success") == "false":
        verdict.broken.append(running)
    return None


def golden_programs(words):
    """(program, CPython's trace) of those that reach it, the shortest first."""
    texts = re.split(r"^%\n", GOLDEN.read_text(encoding="utf-8"), flags=re.M)
    programs = [(p, t) for p, t in zip(texts[::2], texts[1::2])]
    if words == ["none"]:
        return []
    if words != ["all"]:
        uses = re.compile(rf"\b({'|'.join(map(re.escape, words))})\b")
        programs = [pair for pair in programs if uses.search(pair[0])]
    return sorted(programs, key=lambda pair: sum(text.count("\n") for text in pair))


def run_golden(binary, programs, environment=None):
    """The first program that runs differently, or None. traces.cpp tells one trace after the other."""
    process = subprocess.Popen([str(binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT,
                               env={**os.environ, **(environment or {})}, preexec_fn=limits)
    os.set_blocking(process.stdout.fileno(), False)
    try:
        for program, upstream in programs:
            ours, why = trace(process, program)
            if why or ours != upstream:
                return Difference(program, upstream, ours, why)
        return None
    finally:
        end(process)
        process.stdin.close()
        process.stdout.close()


def trace(process, program):
    """(the trace of the program, why it ends early)."""
    watch, text = Watch(process.pid), ""
    try:
        process.stdin.write((program + "%\n").encode())
        process.stdin.flush()
    except BrokenPipeError:
        pass
    while not text.endswith("\n%\n"):
        text += (process.stdout.read() or b"").decode(errors="replace")
        if process.poll() is not None and not text.endswith("\n%\n"):
            return text, f"crash in this program, {signal.Signals(-process.returncode).name}" if process.returncode < 0 else "it ended"
        if stuck := watch.stuck():
            return text, stuck
        time.sleep(0.0005)
    return text[:-2], ""


def side_by_side(difference):
    """The program, and both traces beside one another, in lines."""
    lines = enumerate(difference.program.splitlines(), 1)
    program = [f"{number:4}  {line}" for number, line in lines if not line.startswith("#")]  # it names a defect
    left, right = difference.upstream.splitlines(), difference.ours.splitlines()
    if difference.why:
        right.append(f"({difference.why})")
    width = max(map(len, left + ["CPython 3.13"])) + 2
    lines = [f"  {'CPython 3.13':{width}}yours"]
    for i in range(max(len(left), len(right))):
        theirs, ours = (side[i] if i < len(side) else "" for side in (left, right))
        lines.append(f"{' ' if theirs == ours else '>'} {theirs:{width}}{ours}".rstrip())
    return program, lines
