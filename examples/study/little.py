"""A recording of the interpreter of the little language becomes one of the program that it interprets.

    little.py RECORD.json     writes it anew

What little.cpp tells the recorder stands among the events, as lines that are printed to descriptor -1:

    @ACTIVATION FUNCTION LINE    a run of a function begins, or goes on to this line; line 0: it has ended
    anything else                a line of the trace

They say where the program is: in place of C++'s functions and lines come those of the program. The trace is its output."""
import json
import sys

import make_page

TOLD = -1
FILE = "program.txt"


class Program:
    """Which functions of the program are active, while the events are read one after the other."""

    def __init__(self, record):
        self.record = record
        self.runners = [[]]  # the tasks that run, one within the other if they start eagerly; below them what is no task: activations
        self.tasks = {}  # task: its activations, outermost first: [id, function, line]
        self.running = []  # handles
        self.places, self.stacks = Table(), Table()

    def told(self, text):
        activation, function, line = text[1:].split()
        everywhere = [*self.runners, *self.tasks.values()]
        here = next((each for frames in everywhere for each in frames if each[0] == activation), None)
        if here is None and line != "0":
            self.begins([activation, function, int(line)])
        elif line != "0":
            here[2] = int(line)
        for frames in everywhere if line == "0" else ():
            frames[:] = [each for each in frames if each[0] != activation]

    def begins(self, activation):
        _, function, line = activation
        self.runners[-1].append(activation)
        for task, frames in self.tasks.items():
            if frames is self.runners[-1] and len(frames) == 1:
                self.record["tasks"][task][1:4] = [function, FILE, line]
        if self.running and self.record["handles"][self.running[-1]][2] < 0 and len(self.runners[-1]) == 1:
            self.record["handles"][self.running[-1]][1] = function

    def now(self):
        """Innermost first. What runs within something else was called by it."""
        return [[function, FILE, line] for frames in reversed(self.runners) for _, function, line in reversed(frames)]

    def place(self, old):
        if old < 0:
            return -1
        return self.places.index((self.now(), self.record["calls"][old]))

    def stack(self, task, old):
        """The program's functions, and the library's coroutines that the innermost awaits."""
        below = []
        for frame in self.record["stacks"][old]:
            below = [*below, frame] if frame[0].startswith("asyncio::") else []
        return self.stacks.index([[function, FILE, line] for _, function, line in self.tasks[task]] + below)

    def event(self, event):
        kind, _, _, place, *arguments = event
        subject = arguments[0] if arguments else None
        event[3] = self.place(place)
        if kind in ("soon", "timer") and self.record["handles"][subject][3] == place:
            self.record["handles"][subject][3] = event[3]
        if kind == "create":
            self.tasks[subject] = []
            self.record["tasks"][subject][1:4] = ["", "", 0]
        if kind in ("run", "ran"):
            self.running = [subject] if kind == "run" else []
        if kind == "step":
            self.runners.append(self.tasks.setdefault(subject, []))
        if kind == "wait":
            self.waits(event)
        if kind in ("wait", "done") and self.runners[-1] is self.tasks.get(subject):
            self.runners.pop()

    def waits(self, event):
        task, future, stack = event[4:]
        event[6] = self.stack(task, stack)
        made = self.record["futures"][future] if future >= 0 else None
        if made and not made[0].startswith("asyncio::") and self.tasks[task]:
            made[0] = self.tasks[task][-1][1]


class Table:
    def __init__(self):
        self.entries, self.known = [], {}

    def index(self, entry):
        key = json.dumps(entry)
        if key not in self.known:
            self.known[key] = len(self.entries)
            self.entries.append(entry)
        return self.known[key]


def on_virtual_clock(events):
    """Waiting takes the time that the program believes it takes."""
    moved = waits = 0
    for event in events:
        if event[0] == "select":
            waits = event[4] or 0
        if event[0] == "woke" and not event[4]:
            moved += 1e6 * waits
        event[1] = round(event[1] + moved, 1)


def convert(record):
    record["calls"] = make_page.calls(make_page.resolved(record), make_page.notes())
    program, events = Program(record), []
    for event in record["events"]:
        is_print, is_told = event[0] == "print", event[0] == "print" and event[4] == TOLD
        if is_told and event[5].startswith("@"):
            program.told(event[5])
        elif is_told or not is_print:  # the interpreter itself prints the whole trace at its end
            program.event(event)
            events.append(event[:4] + [1, event[5]] if is_told else event)
    on_virtual_clock(events)
    record["events"] = events
    record["places"], record["calls"] = ([entry[i] for entry in program.places.entries] for i in (0, 1))
    record["stacks"] = program.stacks.entries
    del record["binary"]


def main(path):
    with open(path, encoding="utf-8") as file:
        record = json.load(file)
    convert(record)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(record, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
