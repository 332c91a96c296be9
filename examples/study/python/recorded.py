"""python -m cpploop.recorded script.py ARGUMENTS..., or -m module: the program on this kernel, recorded as ASYNCIO_STUDY says.

The recorder is that of examples/study, which sees the loop; this tells it of what is Python's own: tasks, and where a program is."""
import asyncio
import atexit
import functools
import gc
import json
import os
import sys
import sysconfig
import weakref
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader

from . import OnKernel, _kernel, _run_unless_cancelled, task_of
from .__main__ import main

_recorder = module_from_spec(spec_from_loader("_recorder", ExtensionFileLoader("_recorder", _kernel.__file__)))
ASYNCIO = os.path.dirname(asyncio.__file__) + os.sep
LIBRARIES = tuple(folder + os.sep for folder in [
    *map(sysconfig.get_path, ("purelib", "platlib", "stdlib", "platstdlib")), os.path.dirname(os.path.dirname(__file__)),
    "/usr/lib/python3/dist-packages"])
LOOP = OnKernel._run_until_stopped.__code__  # what has called it is not at work
HERE = os.getcwd()  # the program may go elsewhere
DEEP = 64  # of a call stack

# Of a coroutine, a generator, an asynchronous generator: its code, its frame, and what it awaits.
AWAITING = ("cr_code", "cr_frame", "cr_await"), ("gi_code", "gi_frame", "gi_yieldfrom"), ("ag_code", "ag_frame", "ag_await")
# Types that do not say what they drive.
DRIVING = {"coroutine_wrapper", "async_generator_asend", "async_generator_athrow", "anext_awaitable"}


# ---- names and places

def function_of(code):
    """The name of a function, as the page writes names: asyncio::Queue::get, lambda in main."""
    *outer, name = code.co_qualname.replace(".<locals>.", "\n").replace(".", "::").split("\n")
    if name == "<lambda>":
        return f"lambda in {outer[-1] if outer else 'module'}"
    return ("asyncio::" if code.co_filename.startswith(ASYNCIO) else "") + name.strip("<>")


def file_of(code):
    """Its whole path; of a library's, and of what was not read from a file, only a name."""
    path = code.co_filename
    library = next((folder for folder in LIBRARIES if path.startswith(folder)), "")
    return path[len(library):] if library or path.startswith("<") else os.path.normpath(os.path.join(HERE, path))


def function_named(callback):
    while isinstance(callback, functools.partial):
        callback = callback.func
    callback = getattr(callback, "__func__", callback)
    if hasattr(callback, "__code__"):
        outer, nested, _ = callback.__code__.co_qualname.partition(".<locals>.")
        is_inside = nested and callback.__code__.co_filename.startswith(ASYNCIO)
        return f"lambda in asyncio::{outer}".replace(".", "::") if is_inside else function_of(callback.__code__)
    return str(getattr(callback, "__qualname__", type(callback).__qualname__)).replace(".", "::")


def place(known={}):
    """Where the program is: its own frames, innermost first, as JSON."""
    entries, frame = [], sys._getframe(1)
    while frame is not None and frame.f_code is not LOOP and len(entries) < DEEP:
        code = frame.f_code
        if id(code) not in known:  # kept, so that the id remains its own
            path = file_of(code)
            known[id(code)] = code, os.path.isabs(path) and f"[{json.dumps(function_of(code))},{json.dumps(path)},"
        if known[id(code)][1]:
            entries.append(f"{known[id(code)][1]}{frame.f_lineno}]")
        frame = frame.f_back
    return f"[{','.join(entries)}]"


def parts(awaitable):
    """Code, frame, and what it awaits; None if it is none of these."""
    return next(([getattr(awaitable, name) for name in names] for names in AWAITING if hasattr(awaitable, names[0])), None)


def driven_by(awaitable):
    referents = gc.get_referents(awaitable) if type(awaitable).__name__ in DRIVING else []
    return next((each for each in referents if parts(each)), None)


def stack_of(task):
    """Who awaits whom in it, outermost first: [function, file, line]."""
    stack, at = [], task.get_coro()
    while at is not None and len(stack) < 1000:
        its = parts(at)
        if its is None:
            at = driven_by(at)
            continue
        code, frame, at = its
        stack.append([function_of(code), file_of(code), frame.f_lineno if frame else code.co_firstlineno])
    return stack


# ---- tasks

class Known:
    """A task or a future that has a number in the recording."""

    def __init__(self, number):
        self.number, self.step, self.name, self.cancelling, self.done = number, -1, "", 0, False


class Tasks:
    """What the tasks of one loop do, as events. CPython's Task has no hooks; what it does is seen by what it schedules, and by
    what it waits for when a step has ended. Tasks are held weakly, futures by their ids, so that nothing lives longer."""

    def __init__(self, loop):
        self.loop = loop
        self.tasks = weakref.WeakKeyDictionary()
        self.futures = {}
        self.running = None

    # The recorder calls these five.

    def name_of(self, handle):
        callback = handle._callback
        if callback is _run_unless_cancelled:  # a signal's
            callback = handle._args[0]._callback
        return function_named(callback)

    def step_scheduled(self, handle):
        """Of a step of a task, tells why it is scheduled: the task is new, gives up its turn, or is woken."""
        task = task_of(handle)
        if task is None:
            return -1
        future = handle._args[0] if handle._args and asyncio.isfuture(handle._args[0]) else None
        if task not in self.tasks:
            self.created(task)
            if future is not None:
                self.has_begun(task, future)
        elif task is self.running:
            self.waits(task, future)
        if future is not None:
            self.woken(task, future)
        return self.tasks[task].step

    def begins(self, handle):
        """Returns the number of the task, if it is one."""
        self.running = task_of(handle)
        if self.running is None:
            return -1
        if self.running not in self.tasks:
            self.created(self.running)
        known = self.tasks[self.running]
        self.find_name(self.running, known)
        self.find_cancellation(self.running, known)
        self.event("step", known.number, text=known.name)
        return known.number

    def ends(self):
        if asyncio.get_running_loop().get_task_factory():
            for task in sorted(asyncio.all_tasks() - set(self.tasks), key=asyncio.Task.get_name):
                self.created(task)
                self.has_begun(task, task._fut_waiter)
        task, self.running = self.running, None
        if task is not None and task.done():
            self.done(task)
        elif task is not None:
            self.waits(task, task._fut_waiter)

    def find_cancellations(self, limit):
        if len(self.tasks) <= limit:
            for task, known in list(self.tasks.items()):
                self.find_cancellation(task, known)

    # What happens to a task.

    def event(self, kind, *arguments, text, has_place=False):
        _recorder.event(self.loop, kind, json.dumps(arguments)[1:-1], text, has_place)

    def entry(self, task):
        code = (parts(task.get_coro()) or [None])[0]
        where = [function_of(code), file_of(code), code.co_firstlineno] if code else ["", "", 0]
        return json.dumps([task.get_name(), *where, self.loop])

    def created(self, task):
        known = self.tasks[task] = Known(_recorder.add("tasks", self.entry(task)))
        known.name = task.get_name()
        known.step = _recorder.add_step(self.loop, known.number, known.name)
        by = self.tasks[self.running] if self.running else None
        self.futures.pop(id(task), None)
        self.event("create", known.number, by.number if by else -1, text=known.name + (f"  by {by.name}" if by else ""), has_place=True)

    def find_name(self, task, known):
        """Before Python 3.12 a task gets its name after it was created."""
        if task.get_name() != known.name:
            known.name = task.get_name()
            _recorder.rename_task(self.loop, known.number, known.step, known.name, self.entry(task))

    def has_begun(self, task, future):
        """An eager task is seen only when it waits."""
        self.event("step", self.tasks[task].number, text=task.get_name())
        self.waits(task, future)

    def waits(self, task, future):
        if task is self.running:
            self.running = None
        known, stack = self.tasks[task], stack_of(task)
        on = "for one iteration" if future is None else f"on {future.get_name()}" if future in self.tasks else "on a future"
        number = -1 if future is None else self.future_of(future, stack).number
        self.event("wait", known.number, number, _recorder.intern("stacks", json.dumps(stack)),
                   text=f"{known.name} {on}" + (f"  in {stack[-1][0]}" if stack else ""))

    def future_of(self, future, stack):
        """It is called what the innermost coroutine that awaits it is called. That of gather() is awaited by the program itself."""
        known = self.futures.get(id(future))
        if known is None or known.done:
            maker = "asyncio::gather" if type(future).__name__ == "_GatheringFuture" else stack[-1][0] if stack else ""
            task = self.tasks[future].number if future in self.tasks else -1
            known = self.futures[id(future)] = Known(_recorder.add("futures", json.dumps([maker, task])))
        return known

    def woken(self, task, future):
        known = self.futures.get(id(future))
        if known is not None:  # what is waited for under this id from now on is another one
            known.done = True
            self.event("wake", self.tasks[task].number, known.number, text=self.tasks[task].name, has_place=True)

    def done(self, task):
        known = self.tasks.pop(task)
        self.find_cancellation(task, known)
        error = None if task.cancelled() else task._exception  # not exception(), after which nobody would hear of it
        outcome = "cancelled" if task.cancelled() else "returned" if error is None else "raised"
        text = "" if error is None else repr(error)
        self.event("done", known.number, outcome, text, text=f"{known.name} {outcome} {text}")
        self.futures.pop(id(task), None)

    def find_cancellation(self, task, known):
        if task.cancelling() != known.cancelling:
            known.cancelling = task.cancelling()
            self.event("cancels", known.number, known.cancelling, text=f"{known.name}.cancelling() is {known.cancelling}")


# ---- the program

class Tee:
    """In front of sys.stdout or sys.stderr."""

    def __init__(self, stream, fd):
        self._stream, self._fd = stream, fd

    def write(self, text):
        return self._stream.write(text) if _recorder.printed(self._fd, text.encode("utf-8", "replace")) else len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def __getattr__(self, name):
        return getattr(self._stream, name)


def finish():
    gc.collect()  # who was never awaited or never asked says so now
    _recorder.finish()


def record():
    if _recorder.start(place, Tasks, f'"argv":{json.dumps(sys.argv[1:])}'):
        atexit.register(finish)
        sys.stdout, sys.stderr = Tee(sys.stdout, 1), Tee(sys.stderr, 2)
    for name in ("ASYNCIO_STUDY", "LD_PRELOAD", "VIRTUAL"):
        os.environ.pop(name, None)  # they are not for its children


if __name__ == "__main__":
    record()
    main()
