"""An instrument written in Python: a line per iteration of the loop, and in it what ran, tasks by their names."""
import sys

from . import task_of


class Watch:
    """`build/python/run --watch script.py` gives one to every loop. It can be added to any: loop.add_instrument(Watch())."""

    def __init__(self, out=sys.stderr):
        self.out, self.number, self.line = out, 0, ""

    def before_select(self, timeout):
        self.number += 1
        wait = "until something happens" if timeout is None else f"{timeout:.3f} s" if timeout else "not at all"
        self.line = f"#{self.number}  wait {wait}"

    def after_select(self, events):
        ready = ", ".join(f"fd {fd}" for fd, _ in events)
        print(self.line + (f"  ready: {ready}" if ready else ""), file=self.out)

    def before_run(self, handle):
        print(f"      run {self.name(handle)}", file=self.out)

    def handle_scheduled(self, handle, by):
        if by is not None and handle is not None:
            when = f" at {handle.when():.3f}" if hasattr(handle, "when") else ""
            print(f"          schedules {self.name(handle)}{when}", file=self.out)

    def name(self, handle):
        if handle is None:
            return "the self-pipe's reader"
        task = task_of(handle)
        return f"task {task.get_name()}" if task else getattr(handle._callback, "__qualname__", repr(handle._callback))
