"""A recording as Trace Event JSON, which ui.perfetto.dev and chrome://tracing show.

A track for the loop (its iterations, and in them the waits in the selector and the callbacks), one for each task (its steps), and arrows
from who wakes or creates a task to the step that it takes then. Times are in microseconds, as in the recording."""

LOOP = 1  # tracks of loops are 1, 2 …; those of tasks come after them


class Trace:
    def __init__(self, record: dict) -> None:
        self.record = record
        self.events = []
        self.open = {}  # (track, what) -> (time, name, category, arguments)
        self.pending = {}  # task -> the arrow that is to end at its next step
        self.arrows = 0

    def task_track(self, task: int) -> int:
        return LOOP + len(self.record["loops"]) + task

    def begin(self, track: int, what: str, time: float, name: str, category: str, **arguments) -> None:
        self.open[track, what] = (time, name, category, arguments)

    def end(self, track: int, what: str, time: float) -> None:
        if (track, what) not in self.open:
            return
        start, name, category, arguments = self.open.pop((track, what))
        self.events.append({"ph": "X", "pid": 1, "tid": track, "ts": start, "dur": round(time - start, 3), "name": name, "cat": category,
                            "args": arguments})

    def name(self, track: int, name: str) -> None:
        self.events.append({"ph": "M", "pid": 1, "tid": track, "name": "thread_name", "args": {"name": name}})
        self.events.append({"ph": "M", "pid": 1, "tid": track, "name": "thread_sort_index", "args": {"sort_index": track}})

    def handle(self, handle: int) -> str:
        kind, label, task, _ = self.record["handles"][handle]
        return self.record["tasks"][task][0] if task >= 0 else label

    def arrow(self, phase: str, track: int, time: float, number: int, name: str) -> dict:
        ends = {"bp": "e"} if phase == "f" else {}
        return {"ph": phase, "pid": 1, "tid": track, "ts": time, "id": number, "cat": "wake", "name": name, **ends}


def trace(record: dict) -> dict:
    """The whole: {"traceEvents": […]}."""
    made = Trace(record)
    made.events.append({"ph": "M", "pid": 1, "tid": 0, "name": "process_name", "args": {"name": record.get("program") or "asyncio"}})
    for number in range(len(record["loops"])):
        made.name(LOOP + number, "loop" if number == 0 else f"loop {number + 1}")
    for number, task in enumerate(record["tasks"]):
        made.name(made.task_track(number), f"{task[0]} {task[1]}".strip())
    iteration = [0] * len(record["loops"])
    for kind, time, loop, _, *rest in record["events"]:
        if loop >= 0 and kind in EVENTS:
            EVENTS[kind](made, LOOP + loop, time, rest, iteration, loop)
    if record["events"]:
        for track, what in reversed(list(made.open)):
            made.end(track, what, record["events"][-1][1])
    return {"traceEvents": made.events, "displayTimeUnit": "ms"}


def select(made, track, time, rest, iteration, loop):
    made.end(track, "iteration", time)
    iteration[loop] += 1
    made.begin(track, "iteration", time, f"iteration {iteration[loop]}", "iteration")
    made.begin(track, "select", time, "select" if rest[0] == 0 else "select: sleeps", "select", timeout=rest[0])


def run(made, track, time, rest, iteration, loop):
    made.begin(track, "run", time, made.handle(rest[0]), "run")


def step(made, track, time, rest, iteration, loop):
    mine = made.task_track(rest[0])
    made.begin(mine, "step", time, "step", "step", iteration=iteration[loop])
    if rest[0] in made.pending:
        start = made.pending.pop(rest[0])
        made.events += [start, made.arrow("f", mine, time, start["id"], start["name"])]


def wait(made, track, time, rest, iteration, loop):
    made.end(made.task_track(rest[0]), "step", time)


def wake(made, track, time, rest, iteration, loop, name="wakes"):
    """From the slice in which it happens: there is none before the loop runs, and then there is no arrow."""
    if (track, "run") in made.open:
        made.arrows += 1
        made.pending[rest[0]] = made.arrow("s", track, time, made.arrows, name)


def print_(made, track, time, rest, iteration, loop):
    made.events.append({"ph": "i", "pid": 1, "tid": track, "ts": time, "s": "t", "name": rest[1].rstrip("\n"), "cat": "print"})


EVENTS = {
    "select": select,
    "woke": lambda made, track, time, rest, iteration, loop: made.end(track, "select", time),
    "run": run,
    "ran": lambda made, track, time, rest, iteration, loop: made.end(track, "run", time),
    "step": step,
    "wait": wait,
    "done": wait,
    "wake": wake,
    "create": lambda made, track, time, rest, iteration, loop: wake(made, track, time, rest, iteration, loop, "creates"),
    "print": print_,
}
