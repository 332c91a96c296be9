#!/usr/bin/env python3
"""Tests of the recorder, on recorded programs: does a recording obey the rules of the loop, and do they print what they print
without it? Then the page in a browser, where there is one.

    test.py PROGRAMS OUT PYTHON     the folder with the programs, linked with the recorder; where to write; what records a Python
                                    program, and that Python: RUN,PYTHON; empty if there is none"""
import bisect
import glob
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
import little  # noqa: E402
import make_page  # noqa: E402
import perfetto  # noqa: E402
import runs  # noqa: E402

LADDER = ["01_call_soon", "02_timers", "03_future", "04_task", "05_sleep", "06_cancel", "07_pipe", "09_gather_wait_group", "10_timeouts",
          "11_queue_workers", "12_cancellation_rules", "13_context", "14_who_awaits_whom", "15_pitfalls", "16_tcp_echo_streams", "17_protocol",
          "19_threads", "21_subprocess"]
LADDER_PYTHON = [name for name in LADDER if os.path.exists(f"examples/{name}.py")]
LITTLE = ["12_cancel_twice", "22_lock_is_fair"]
PAGES = LADDER[:12] + ["16_tcp_echo_streams", "17_protocol"]
ARGUMENTS = {"select": 1, "woke": 1, "due": 1, "drop": 1, "heap": 1, "soon": 2, "timer": 4, "cancel": 1, "skip": 1, "run": 1, "ran": 1, "create": 2,
             "step": 1, "wait": 3, "wake": 2, "done": 3, "cancels": 2, "fd": 4, "unread": 2, "print": 2}
failures = []
checks = 0


def check(what: str, seen, expected) -> None:
    global checks
    checks += 1
    if seen != expected:
        failures.append(f"{what}\n  is {seen!r}\n  should be {expected!r}")


def run(program: str | list[str], **environment: str) -> subprocess.CompletedProcess:
    inherited = {name: value for name, value in os.environ.items() if name not in {"ASYNCIO_DEBUG", "ASYNCIO_STUDY", "VIRTUAL"}}
    return subprocess.run(program, env=inherited | environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def without_numbers(text: str) -> str:
    """Times, addresses, ports and process ids differ from run to run."""
    return re.sub(r"0x[0-9a-f]+ *|\d+(\.\d+)?", "N", text)


def check_rules(name: str, record: dict) -> None:
    """The ready queue is first in, first out; a timer becomes due from the top of the heap; tasks change as tasks do."""
    ready, timers, state = defaultdict(list), defaultdict(list), {}
    times = []
    for number, (kind, time, loop, place, *rest) in enumerate(record["events"]):
        at = f"{name}, event {number} {kind}"
        check(f"{at}: arguments", len(rest), ARGUMENTS.get(kind))
        check(f"{at}: place", place < len(record["places"]) and loop < len(record["loops"]), True)
        times.append(time)
        if kind in {"soon", "due"}:
            ready[loop].append(rest[0])
        if kind == "soon" and record["handles"][rest[0]][0] in {"reader", "writer"}:
            check(f"{at}: only the selector schedules it", rest[1], -1)
        if kind == "timer":
            timers[loop].append((rest[3], rest[0]))
        if kind in {"due", "drop"}:
            first = min(when for when, _ in timers[loop])
            mine = [timer for timer in timers[loop] if timer[1] == rest[0]]
            check(f"{at}: it is one of those that are due first", [when for when, _ in mine], [first])
            timers[loop].remove(mine[0])
        if kind in {"run", "skip"}:
            check(f"{at}: the first of the queue", ready[loop].pop(0), rest[0])
        if kind == "select":
            check(f"{at}: it does not sleep if something is ready", not ready[loop] or rest[0] == 0, True)
        if kind == "step":
            check(f"{at}: only a ready task is stepped", state.get(rest[0]), "ready")
        changed = {"create": "ready", "step": "running", "wake": "ready", "done": "done"}.get(kind)
        if kind == "wait":
            check(f"{at}: only a running task waits", state.get(rest[0]), "running")
            changed = "ready" if rest[1] < 0 else "waiting"
        if changed:
            state[rest[0]] = changed
    check(f"{name}: time does not go back", times == sorted(times), True)
    check(f"{name}: all tasks are done in the end", {task: now for task, now in state.items() if now != "done"}, {})


def check_recording(name: str, program: str | list[str], out: str, unrecorded: str | list[str] | None = None) -> dict:
    path = os.path.join(out, f"{name}.json")
    ran = run(program, ASYNCIO_STUDY=path)
    if not os.path.exists(path):
        sys.exit(f"{name}: ended with status {ran.returncode} and left no recording\n{ran.stderr}")
    with open(path, encoding="utf-8") as file:
        record = json.load(file)
    check_rules(name, record)
    printed = "".join(event[5] for event in record["events"] if event[0] == "print" and event[4] == 1)
    if not name.startswith("21_subprocess"):  # what a child prints is not the program's
        check(f"{name}: what it printed is in the recording", printed, ran.stdout)
    check(f"{name}: prints the same if it is not recorded", without_numbers(ran.stdout), without_numbers(run(unrecorded or program).stdout))
    return record


def check_page(name: str, record: dict, source: str, out: str) -> None:
    complete = make_page.complete(record, source)
    text = json.dumps(complete)
    check(f"{name}: no path of this machine is in the page", make_page.ROOT in text.replace(json.dumps(complete["sources"]), ""), False)
    with open(os.path.join(out, f"{name}.json"), "w", encoding="utf-8") as file:
        file.write(text)
    with open(os.path.join(out, f"{name}.html"), "w", encoding="utf-8") as file:
        file.write(make_page.page(complete))
    check_perfetto(name, complete)


def check_little(name: str, recorded: str, out: str) -> None:
    """A program of the little language, as the playground steps through it."""
    path = os.path.join(out, f"{name}.json")
    with tempfile.TemporaryDirectory() as folder:
        source = shutil.copy(os.path.join(HERE, "playground", f"{name}.txt"), os.path.join(folder, little.FILE))
        with open(source, encoding="utf-8") as program:
            subprocess.run([recorded, "traces", "-"], stdin=program, stdout=subprocess.DEVNULL, env=os.environ | {"ASYNCIO_STUDY": path}, check=True)
        little.main(path)
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        check_rules(name, record)
        check_page(name, record, source, out)


def check_perfetto(name: str, record: dict) -> None:
    """What ui.perfetto.dev asks of Trace Event JSON: slices of a track nest, arrows have two ends in slices, times are in microseconds."""
    trace = perfetto.trace(record)["traceEvents"]
    check(f"{name}, perfetto: is JSON", json.loads(json.dumps(trace)), trace)
    tracks, arrows, outermost = defaultdict(list), defaultdict(list), defaultdict(list)
    check(f"{name}, perfetto: every event has what it needs", all(key in event for event in trace for key in ("ph", "pid", "tid", "name")), True)
    for event in trace:
        if event["ph"] == "X":
            check(f"{name}, perfetto: no negative duration", event["dur"] >= 0, True)
            tracks[event["tid"]].append(event)
        if event["ph"] in "sf":
            arrows[event["id"], event["cat"], event["name"]].append(event)
    for track, slices in tracks.items():
        slices.sort(key=lambda each: (each["ts"], -each["dur"]))
        open_until = []
        for each in slices:
            while open_until and open_until[-1] <= each["ts"] + 1e-6:
                open_until.pop()
            check(f"{name}, perfetto: slices nest", not open_until or each["ts"] + each["dur"] <= open_until[-1] + 1e-6, True)
            if not open_until:
                outermost[track].append((each["ts"], each["ts"] + each["dur"]))
            open_until.append(each["ts"] + each["dur"])
    for ends in arrows.values():
        check(f"{name}, perfetto: an arrow has a beginning and an end", [end["ph"] for end in ends], ["s", "f"])
        for end in ends:
            slices = outermost[end["tid"]]
            start, until = slices[bisect.bisect(slices, (end["ts"], float("inf"))) - 1]
            check(f"{name}, perfetto: an arrow ends in a slice", start <= end["ts"] <= until, True)
    steps = sum(event[0] == "step" for event in record["events"])
    check(f"{name}, perfetto: every step is a slice", sum(event.get("cat") == "step" for event in trace), steps)
    last = record["events"][-1][1]
    check(f"{name}, perfetto: microseconds", max(event.get("ts", 0) for event in trace) <= last, True)


def check_links(out: str, addresses: dict) -> None:
    """What side_by_side.py links to: is the function there? By the recording as the program wrote it, and in the browser by test_page.mjs."""
    links = runs.first_events(pathlib.Path(out))
    check("links: there are many", len(links) > 20, True)  # over 60 where the library is built with -g
    for function, (page, number) in links.items():
        name = page.removesuffix(".html")
        with open(os.path.join(out, f"{name}.json"), encoding="utf-8") as file:
            record = json.load(file)
        event = record["events"][number - 1]
        binary, places = addresses[name]
        frames = [frame[0] for each in make_page.resolve(binary, places[event[3]]).values() for frame in each] if event[3] >= 0 else []
        frames += [frame[0] for frame in record["stacks"][event[6]]] if event[0] == "wait" else []
        told = [runs.FUNCTIONS[runs.kind_of_function(event)][0]] if event[3] < 0 else []
        check(f"links: {function} is at work in event {number} of {name}", function in told or any(is_called(function, frame) for frame in frames), True)
    with open(os.path.join(out, "links.json"), "w", encoding="utf-8") as file:
        json.dump(links, file)


def is_called(function: str, frame: str) -> bool:
    """asyncio::Queue<int>::get(…) is Queue::get."""
    pattern = r"(<.*>)?::".join(map(re.escape, function.split("::")))
    return re.search(rf"\b(asyncio|selectors)::(\W*anonymous\W*::)?{pattern}\b(?!::)", frame) is not None


def check_terminal(programs: str) -> None:
    """ASYNCIO_STUDY=- and step, VIRTUAL=1."""
    program = os.path.join(programs, "examples/02_timers")
    trace = run(program, ASYNCIO_STUDY="-", VIRTUAL="1").stdout
    check("text trace: a line per event", all(re.match(r"#\d+ +\d+\.\d{6}  \w+ ", line) for line in trace.splitlines()), True)
    check("text trace: the same each time on a virtual clock", trace, run(program, ASYNCIO_STUDY="-", VIRTUAL="1").stdout)
    check("virtual clock: the last timer is due after 0.7 s", re.findall(r"(0\.7\d*)  run", trace) != [], True)
    kinds = lambda text: [line.split()[2] for line in text.splitlines()]  # noqa: E731
    tasks = os.path.join(programs, "examples/04_task")
    check("virtual clock: the same events as on the real one", kinds(run(tasks, ASYNCIO_STUDY="-", VIRTUAL="1").stdout),
          kinds(run(tasks, ASYNCIO_STUDY="-").stdout))
    stepped = subprocess.run([program], env=os.environ | {"ASYNCIO_STUDY": "step", "VIRTUAL": "1"}, input="\n" * 3, capture_output=True, text=True,
                             timeout=60).stdout
    check("step: asks after each iteration until the input ends", stepped.count("Enter: the next iteration> "), 4)
    check("step: shows the three boxes", all(f"\n  {box}" in stepped for box in ("ready", "timers", "selector")), True)
    check("step: shows the timers in heap order", re.search(r"timers    \[.* in 0\.\d+\] \[", stepped) is not None, True)
    slow = run(os.path.join(programs, "examples/05_sleep"), VIRTUAL="1")
    check("virtual clock: prints what it prints on the real one", without_numbers(slow.stdout),
          without_numbers(run(os.path.join(programs, "examples/05_sleep")).stdout))


def check_signal(programs: str) -> None:
    """kill -USR1 in debug mode: ps and pstree, while the program waits."""
    program = subprocess.Popen([os.path.join(programs, "examples/study/waits_for_signal")], env=os.environ | {"ASYNCIO_DEBUG": "1"}, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    program.stdout.readline()
    program.send_signal(10)
    out = ""
    while "└── (T)" not in out:
        line = program.stderr.readline()
        if not line:
            break
        out += line
    program.kill()
    program.wait()
    check("kill -USR1: the table of tasks", "awaiter chain" in out and "inner" in out, True)
    check("kill -USR1: the tree", "└── (T)" in out, True)


def check_python(recorded: str, python: str, out: str) -> None:
    """The twins of the ladder and of the findings: they print what they print on CPython's own loop."""
    for source in [f"examples/{name}.py" for name in LADDER_PYTHON] + sorted(glob.glob("examples/study/findings/*.py")):
        name = os.path.basename(source)
        record = check_recording(name, [recorded, source], out, [python, source])
        if name[:-3] in PAGES or "/study/" in source:
            check_page(name, record, source, out)
    check_python_terminal(recorded)
    check_python_names(recorded, out)
    check_python_ends(recorded, out)


def check_python_terminal(recorded: str) -> None:
    timers = [recorded, "examples/02_timers.py"]
    trace = run(timers, ASYNCIO_STUDY="-", VIRTUAL="1").stdout
    check("Python, text trace: a line per event", all(re.match(r"#\d+ +\d+\.\d{6}  \w+ ", line) for line in trace.splitlines()), True)
    check("Python, virtual clock: the last timer is due after 0.7 s", re.findall(r"  0\.[789]\d*  run", trace) != [], True)
    waits = [float(wait) for wait in re.findall(r"select +(\d+\.\d+)$", trace, re.M)]
    check("Python, virtual clock: waits are as long as they are set", any(abs(wait - 0.1) < 1e-3 for wait in waits), True)
    stepped = subprocess.run(timers, env=os.environ | {"ASYNCIO_STUDY": "step", "VIRTUAL": "1"}, input="\n" * 3, capture_output=True, text=True,
                             timeout=60).stdout
    check("Python, step: asks after each iteration until the input ends", stepped.count("Enter: the next iteration> "), 4)


def recording_of(recorded: str, out: str, name: str, text: str) -> tuple[subprocess.CompletedProcess, dict]:
    """Of a Python program that is written here."""
    source, path = os.path.join(out, f"{name}.py"), os.path.join(out, f"{name}.json")
    with open(source, "w", encoding="utf-8") as file:
        file.write(text)
    ran = run([recorded, source], ASYNCIO_STUDY=path)
    with open(path, encoding="utf-8") as file:
        return ran, json.load(file)


NAMES = """import asyncio, functools

class Shop:
    async def serve(self):
        async for item in self.items():
            print(item)

    async def items(self):
        await asyncio.sleep(0.001)
        yield "tea"

async def main():
    async with asyncio.TaskGroup() as group:
        group.create_task(Shop().serve(), name="shop")
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    loop.call_later(0.001, task.cancel)
    loop.call_soon(functools.partial(print, "soon"))
    loop.call_soon(lambda: None)
    await asyncio.Event().wait()

asyncio.run(main())
"""


EAGER = """import asyncio

async def child(seconds):
    await asyncio.sleep(seconds)

async def main():
    if hasattr(asyncio, "eager_task_factory"):
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    await asyncio.gather(*(asyncio.create_task(child(n / 1000), name=f"child {n}") for n in range(3)))

asyncio.run(main())
"""


def check_python_names(recorded: str, out: str) -> None:
    """Tasks have the names that the program gives them, stacks go through asynchronous generators, callbacks are called what they are."""
    _, record = recording_of(recorded, out, "names_python", NAMES)
    check_rules("names_python.py", record)
    check("names: tasks", [task[:2] for task in record["tasks"][:2]], [["Task-1", "main"], ["shop", "Shop::serve"]])
    stacks = [[[function, os.path.basename(file), line] for function, file, line in stack][:2] for stack in record["stacks"]]
    check("names: an await stack", [["Shop::serve", "names_python.py", 5], ["Shop::items", "names_python.py", 9]] in stacks, True)
    labels = {handle[1] for handle in record["handles"]}
    check("names: callbacks", {"Task::cancel", "print", "lambda in main"} - labels, set())
    check("names: what is awaited", {future[0] for future in record["futures"]} >= {"asyncio::sleep", "asyncio::Event::wait"}, True)
    _, eager = recording_of(recorded, out, "eager_python", EAGER)
    check_rules("eager_python.py", eager)
    check("eager tasks", sorted(task[0] for task in eager["tasks"] if task[1] == "child"), ["child 0", "child 1", "child 2"])
    outcomes = {event[4]: event[5] for event in record["events"] if event[0] == "done"}
    check("names: a cancelled task", (outcomes[0], [event[5] for event in record["events"] if event[0] == "cancels"]), ("cancelled", [1]))


ENDS = {
    "exit": ("import sys", "sys.exit(3)", 3, "raised"),
    "raise": ("", "raise ValueError('out')", 1, "raised"),
    "interrupt": ("import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)",  # it may be ignored
                  "os.kill(os.getpid(), signal.SIGINT); await asyncio.sleep(9)", -2, "cancelled"),
}


def check_python_ends(recorded: str, out: str) -> None:
    """However a program ends, its recording is written."""
    for name, (imports, ending, status, outcome) in ENDS.items():
        ran, record = recording_of(recorded, out, f"{name}_ends", f"import asyncio\n{imports}\nasync def main():\n    print('begins')\n"
                                   f"    await asyncio.sleep(0)\n    {ending}\n\nasyncio.run(main())\n")
        check(f"{name}: the status", ran.returncode, status)
        check(f"{name}: how main() ended", [event[5] for event in record["events"] if event[0] == "done"][:1], [outcome])
        check(f"{name}: what was printed", [event[5] for event in record["events"] if event[0] == "print"][:1], ["begins\n"])
        traceback = "".join(event[5] for event in record["events"] if event[0] == "print" and event[4] == 2)
        check(f"{name}: the traceback is in the recording", traceback, ran.stderr)


def browser_is_there(out: str) -> bool:
    for tool, packages in (("chromium", "apt-get install chromium"), ("node", "apt-get install nodejs"), ("npm", "apt-get install npm")):
        if not shutil.which(tool):
            print(f"skipped the page in a browser: there is no {tool} here ({packages})")
            return False
    if not os.path.isdir(os.path.join(out, "node_modules/playwright-core")):
        asked = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--no-save", "--silent", "--prefix", out, "playwright-core"]
        if subprocess.run(asked, capture_output=True).returncode != 0:
            print("skipped the page in a browser: npm install playwright-core has failed")
            return False
    return True


def main() -> None:
    programs, out, python = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    for old in glob.glob(os.path.join(out, "*.html")) + glob.glob(os.path.join(out, "[0-9a-z]*_*.json")):
        os.remove(old)
    sources = [f"examples/{name}.cpp" for name in LADDER] + sorted(glob.glob("examples/study/findings/*.cpp")) + ["examples/study/many_events.cpp"]
    addresses = {}
    for source in sources:
        name, path = os.path.basename(source)[:-4], source[:-4]
        record = check_recording(name, os.path.join(programs, path), out)
        addresses[name] = record["binary"], record["places"]
        if name in PAGES or "/study/" in source:
            check_page(name, record, source, out)
    check_links(out, addresses)
    for name in LITTLE:
        check_little(name, os.path.join(os.path.dirname(programs), "examples/study/recorded"), out)
    check_terminal(programs)
    check_signal(programs)
    if not python:
        print("skipped Python programs: there is no Python >= 3.11 with headers here (apt-get install python3-dev)")
    else:
        check_python(*python.split(","), out)
    for failure in failures[:40]:
        print("FAILED", failure)
    print(f"the recorder: {checks} checks, {len(failures)} failed")
    status = bool(failures)
    if browser_is_there(out):
        status |= subprocess.run(["node", os.path.join(HERE, "test_page.mjs"), out], check=False).returncode != 0
    sys.exit(status)


if __name__ == "__main__":
    main()
