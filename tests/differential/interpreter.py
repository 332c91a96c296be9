"""Runs the programs of README.md on asyncio, on a virtual clock, and prints their traces.

interpreter.py FILE...   prints each program's trace
interpreter.py --serve   reads batches from stdin: "<bytes>\n", then programs that each end with a line "%";
                         answers "<bytes>\n", then their traces, each ended by a line "%"
The C++ twin is interpreter.hpp and interpreter.cpp, function for function.
"""

import asyncio
import contextvars
import errno
import gc
import logging
import os
import select
import selectors
import signal
import sys
import warnings
import weakref
from asyncio.unix_events import SelectorEventLoop

import world

MAX_ITERATIONS = 400
MAX_CALLS = 80
MAX_ROUNDS = 3
MAX_STOPS = 20

EXCEPTIONS = {
    "ValueError": ValueError, "RuntimeError": RuntimeError, "TimeoutError": TimeoutError, "KeyError": LookupError,
    "CancelledError": asyncio.CancelledError, "KeyboardInterrupt": KeyboardInterrupt, "SystemExit": SystemExit,
    "Exception": Exception, "BaseException": BaseException, "ExceptionGroup": BaseExceptionGroup,
    "InvalidStateError": asyncio.InvalidStateError, "BrokenBarrierError": asyncio.BrokenBarrierError,
    "QueueEmpty": asyncio.QueueEmpty, "QueueFull": asyncio.QueueFull, 
    "QueueShutDown": getattr(asyncio, "QueueShutDown", None),  # 3.13
}
RENAMED = {"BaseExceptionGroup": "ExceptionGroup", "LookupError": "KeyError"}


class Unbound(Exception):
    """A name that has no value yet, or one of another kind."""


class Stuck(BaseException):
    """Comes out of select(): nothing can wake the loop, or it has run for too long."""


class Names(dict):
    def __missing__(self, name):
        task = asyncio.current_task(asyncio.get_event_loop()) if name == "self" else None
        if not task:
            raise Unbound
        return task


# ---- The virtual clock.


VIRTUAL = range(200, 210)  # these descriptors exist only here; real ones are kept off these numbers


class VirtualSelector:
    """select() takes no time: it moves the clock on, unless a real descriptor is ready now. Descriptors that exist only
    here are ready when the program says."""

    def __init__(self, before_select):
        self.before_select = before_select
        self.now = 0.0
        self.iteration = 0
        self.registered = {}
        self.coming = []  # (when, fd, events), in the order in which they happen
        self.real = []  # in the order in which they were registered first, which is the same in the twin
        self.poll = select.poll()

    def get_map(self):
        return self.registered

    def get_key(self, fd):  # 3.12 asks so
        return self.registered[fd]

    def register(self, fd, events, data=None):
        number = fd if isinstance(fd, int) else fd.fileno()
        key = self.registered[number] = selectors.SelectorKey(fd, number, events, data)
        if number not in VIRTUAL:
            if number not in self.real:
                self.real.append(number)
            self.poll.register(number, (events & selectors.EVENT_READ and select.POLLIN) |
                               (events & selectors.EVENT_WRITE and select.POLLOUT))
        return key

    modify = register

    def unregister(self, fd):
        number = fd if isinstance(fd, int) else fd.fileno()
        del self.registered[number]
        if number not in VIRTUAL:
            self.poll.unregister(number)

    def poll_real_descriptors(self):
        happened = {}
        for fd, events in self.poll.poll(0):
            mask = (events & ~select.POLLOUT and selectors.EVENT_READ) | (events & ~select.POLLIN and selectors.EVENT_WRITE)
            if mask & self.registered[fd].events:
                happened[fd] = mask & self.registered[fd].events
        return [(self.registered[fd], happened[fd]) for fd in self.real if fd in happened]

    def close(self):
        self.registered.clear()

    def make_ready(self, fd, events, when):
        self.coming.append((when, fd, events))
        self.coming.sort(key=lambda entry: entry[0])

    def select(self, timeout=None):
        self.before_select()
        self.iteration += 1
        if self.iteration > MAX_ITERATIONS:
            raise Stuck("limit")
        real = self.poll_real_descriptors()
        if real:
            return real + list(self.select_descriptors(0)) if self.coming else real
        if not self.coming:
            if timeout is None:
                raise Stuck("idle")
            self.now += max(timeout, 0.0)
            return ()
        return self.select_descriptors(timeout)

    def select_descriptors(self, timeout):
        end = None if timeout is None else self.now + max(timeout, 0.0)
        happened = {}
        while self.coming and (end is None or self.coming[0][0] <= end):
            if happened and self.coming[0][0] > self.now:
                break
            when, fd, events = self.coming.pop(0)
            key = self.registered.get(fd)
            if key and key.events & events:
                self.now = max(self.now, when)
                happened[fd] = happened.get(fd, 0) | events
        if happened:
            return [(self.registered[fd], events & self.registered[fd].events) for fd, events in happened.items()]
        if end is None:
            raise Stuck("idle")
        self.now = end
        return ()


class VirtualLoop(SelectorEventLoop):
    def __init__(self, selector, on_default_handler):
        super().__init__(selector)
        self.numbers = weakref.WeakKeyDictionary()  # of the tasks, in the order in which they were made
        self.numbered = 0
        self.virtual = selector
        self.on_default_handler = on_default_handler
        self._clock_resolution = 1e-9

    def time(self):
        return self.virtual.now

    def run_until_complete(self, future):
        if getattr(future, "__name__", "") == "shutdown_asyncgens":  # there are none here: NOTES [context-of-loop]
            future.close()
            return
        return super().run_until_complete(future)

    def create_task(self, coroutine, **options):
        return self.number(super().create_task, coroutine, **options)

    def create_eager_task(self, coroutine, **options):
        return self.number(asyncio.Task, coroutine, loop=self, eager_start=True, **options)

    def number(self, make, *arguments, **options):
        self.numbered += 1
        number = self.numbered  # before the tasks that an eager one makes
        task = make(*arguments, **options)
        self.numbers[task] = number
        return task

    def default_exception_handler(self, context):
        self.on_default_handler(context)


_all_tasks = asyncio.tasks.all_tasks


def all_tasks_in_order(loop):
    """Runner cancels those of a set."""
    return sorted(_all_tasks(loop), key=loop.numbers.get)


asyncio.tasks.all_tasks = all_tasks_in_order


class Ordered(dict):
    """A set in the order of insertion."""

    add = dict.setdefault

    def discard(self, item):
        self.pop(item, None)


class TaskGroup(asyncio.TaskGroup):
    def __init__(self):
        super().__init__()
        self._tasks = Ordered()  # a set would make the order of cancellation arbitrary


# ---- What the trace shows.


def word(text):
    return " " + text if text and text.replace("_", "a").isalnum() and text.isascii() else ""


def describe(error):
    name = type(error).__name__
    name = RENAMED.get(name, name)
    if name == "ExceptionGroup":
        return name + "(" + ",".join([describe(each) for each in error.exceptions]) + ")"
    if isinstance(error, OSError) and name != "TimeoutError":
        code = error.errno or world.ERRNO_OF.get(type(error))
        return "OSError " + errno.errorcode.get(code, "unknown")
    return name + word(str(error))


def show(value):
    if value is None:
        return "ok"
    if isinstance(value, list):
        return "[" + ",".join([show(each) for each in value]) + "]"
    if isinstance(value, BaseException):
        return describe(value)
    return str(value)


def number(value):
    text = repr(float(value))
    return text[:-2] if text.endswith(".0") else text


def forget_where(error):
    """Drops what keeps frames, and so futures, alive."""
    error.__traceback__ = error.__context__ = error.__cause__ = None


class Activation:
    """One run of a coroutine or function."""

    __slots__ = ("label", "returned")

    def __init__(self, label):
        self.label = label
        self.returned = None


class DoneCallback:
    __slots__ = ("interpreter", "function", "name")

    def __init__(self, interpreter, function, name):
        self.interpreter = interpreter
        self.function = function
        self.name = name

    def __call__(self, future):
        self.interpreter.call(self.function, f"{self.function}({self.name})")


# ---- The operations that do not wait: each takes the interpreter, the activation and its words, and returns what the
# trace shows.

SYNC = {}
AWAIT = {}


def sync(function):
    SYNC[function.__name__.rstrip("_")] = function
    return function


def make(function):
    """`name = Kind …`"""
    kind = function.__name__[5:]

    def bind(p, act, name, *words):
        p.names[name] = function(p, name, *words)

    SYNC["=" + kind] = bind
    return function


def method(name, call):
    """`object.method …`"""
    SYNC["." + name] = call


def seconds(text):
    return None if text == "none" else float(text)


@sync
def log(p, act, *words):
    return " ".join(words)


@sync
def drop(p, act, name):
    value = p.names[name]
    if asyncio.isfuture(value) and not value.done():
        return "pending"  # upstream would lose the task: NOTES [pending-task]
    del p.names[name]
    if value in p.kept:
        p.kept.remove(value)
    del value
    gc.collect()  # a traceback's frames may still refer to it


@sync
def all_tasks(p, act):
    return " ".join(sorted([given_name(task) for task in asyncio.all_tasks(p.loop)])) or "none"


@sync
def current_task(p, act):
    return given_name(p.names["self"])


def given_name(task):
    name = task.get_name()
    return "-" if name.startswith("Task-") else name


@sync
def stop(p, act):
    p.loop.stop()


@sync
def run(p, act, word):
    return show(p.loop.run_until_complete(p.awaitable(word)))


@sync
def run_forever(p, act):
    p.loop.run_forever()


def runner(p, act, *words):
    if act.label != "script":
        raise Unbound
    outcomes = []
    with asyncio.Runner(loop_factory=lambda: p.loop) as each:
        for word in words:
            coroutine = p.awaitable(word)
            p.runner_runs = True
            try:
                outcomes.append(show(each.run(coroutine)))
            finally:
                p.runner_runs = False
    return " ".join(outcomes)


SYNC["Runner"] = runner


@sync
def interrupt(p, act, when):
    """Ctrl-C comes at a moment at which nothing else happens."""
    if float(when) <= p.loop.time() or when in p.interrupts:
        return "late"
    p.interrupts.add(when)
    p.loop.call_at(float(when), raise_interrupt, p)


def raise_interrupt(p):
    if p.runner_runs:
        p.log("!", 0, "Ctrl-C")
        p.interrupted = True
        signal.raise_signal(signal.SIGINT)


@sync
def abandon(p, act):
    p.abandoned = True


@sync
def call_soon_threadsafe(p, act, function):
    p.loop.call_soon_threadsafe(p.call, function, function)


@sync
def burst(p, act, count):
    for i in range(int(count)):
        handle = p.loop.call_later((i * 7) % 5 / 4, p.log, "burst", 0, str(i))
        if i % 3:
            handle.cancel()


@sync
def handler(p, act, function):
    p.handler = None if function == "none" else function


@sync
def add_reader(p, act, fd, function):
    p.loop._add_reader(descriptor(p, fd), p.call, function, f"{function}({fd}r)")


@sync
def add_writer(p, act, fd, function):
    p.loop._add_writer(descriptor(p, fd), p.call, function, f"{function}({fd}w)")


@sync
def remove_reader(p, act, fd):
    return str(p.loop._remove_reader(descriptor(p, fd)))


@sync
def remove_writer(p, act, fd):
    return str(p.loop._remove_writer(descriptor(p, fd)))


@sync
def ready(p, act, fd, how, delay):
    events = ("r" in how) * selectors.EVENT_READ + ("w" in how) * selectors.EVENT_WRITE
    p.selector.make_ready(int(fd), events, p.selector.now + float(delay))


@make
def make_Future(p, name):
    future = p.loop.create_future()
    p.kept.append(future)
    return future


@make
def make_Task(p, name, function, *words):
    p.functions[function]
    context = p.names[words[words.index("in") + 1]] if "in" in words else None
    coroutine = body(p, function, name)
    # No variable here keeps the task: an eager step's traceback may keep this frame.
    if "eager" in words:
        p.kept.append(p.loop.create_eager_task(coroutine, name=name, context=context))
    else:
        p.kept.append(p.loop.create_task(coroutine, name=name, context=context))
    return p.kept[-1]


@make
def make_gather(p, name, *words):
    outcomes = "return_exceptions" in words
    future = asyncio.gather(*p.awaitables([w for w in words if w != "return_exceptions"]), return_exceptions=outcomes)
    p.kept.append(future)
    return future


@make
def make_shield(p, name, word):
    future = asyncio.shield(p.awaitable(word))
    p.kept.append(future)
    return future


@make
def make_call_soon(p, name, function):
    return p.loop.call_soon(p.call, function, function)


@make
def make_call_later(p, name, delay, function):
    return p.loop.call_later(float(delay), p.call, function, function)


@make
def make_call_at(p, name, when, function):
    return p.loop.call_at(float(when), p.call, function, function)


@make
def make_Lock(p, name):
    return asyncio.Lock()


@make
def make_Event(p, name):
    return asyncio.Event()


@make
def make_Condition(p, name, lock=None):
    return asyncio.Condition(p.names[lock] if lock else None)


@make
def make_Semaphore(p, name, value):
    return asyncio.Semaphore(int(value))


@make
def make_BoundedSemaphore(p, name, value):
    return asyncio.BoundedSemaphore(int(value))


@make
def make_Barrier(p, name, parties):
    return asyncio.Barrier(int(parties))


@make
def make_Queue(p, name, maxsize="0"):
    return asyncio.Queue(int(maxsize))


@make
def make_PriorityQueue(p, name, maxsize="0"):
    return asyncio.PriorityQueue(int(maxsize))


@make
def make_LifoQueue(p, name, maxsize="0"):
    return asyncio.LifoQueue(int(maxsize))


@make
def make_ContextVar(p, name, default=None):
    if default is None:
        return contextvars.ContextVar(name)
    return contextvars.ContextVar(name, default=int(default))


@make
def make_copy_context(p, name):
    return contextvars.copy_context()


def call_method(name, convert=None):
    if convert is None:
        method(name, lambda p, act, x, *words: show(getattr(p.names[x], name)(*words)))
    else:
        method(name, lambda p, act, x, *words: show(getattr(p.names[x], name)(*map(convert, words))))


for plain in ("cancel cancelled done cancelling uncancel set_name release locked set clear is_set notify_all "
              "get_nowait task_done qsize empty full get expired").split():
    call_method(plain)
call_method("set_result", int)
call_method("notify", int)
call_method("put_nowait", int)
call_method("reschedule", seconds)
method("get_name", lambda p, act, x: given_name(p.names[x]))
method("n_waiting", lambda p, act, x: str(p.names[x].n_waiting))
method("broken", lambda p, act, x: str(p.names[x].broken))
method("shutdown", lambda p, act, q, *words: p.names[q].shutdown(immediate="immediate" in words))
method("run", lambda p, act, context, function: p.names[context].run(p.call, function, function))


def result(p, act, x):
    return show(p.names[x].result())


def exception(p, act, x):
    error = p.names[x].exception()
    return show(error) if error else "None"


def when(p, act, x):
    value = p.names[x].when()
    return "None" if value is None else number(value)


def set_exception(p, act, future, kind, *message):
    p.names[future].set_exception(EXCEPTIONS[kind](*message))


def add_done_callback(p, act, x, function):
    key = (x, function)
    if key not in p.callbacks:
        p.callbacks[key] = DoneCallback(p, function, x)
    p.names[x].add_done_callback(p.callbacks[key])


def remove_done_callback(p, act, x, function):
    return str(p.names[x].remove_done_callback(p.callbacks.get((x, function))))


def var_set(p, act, variable, value):
    p.tokens[variable] = p.names[variable].set(int(value))


def var_reset(p, act, variable):
    p.names[variable].reset(p.tokens[variable])


def group_create_task(p, act, group, name, function):
    tasks = p.names[group]
    p.functions[function]
    task = tasks.create_task(body(p, function, name), name=name)
    p.kept.append(task)
    p.names[name] = task


method("result", result)
method("exception", exception)
method("when", when)
method("set_exception", set_exception)
method("add_done_callback", add_done_callback)
method("remove_done_callback", remove_done_callback)
method("assign", var_set)
method("reset", var_reset)
method("create_task", group_create_task)


# ---- The operations that wait.


def waits(function):
    AWAIT[function.__name__[6:]] = function
    return function


@waits
async def await_sleep(p, act, delay, *result):
    return show(await asyncio.sleep(float(delay), *map(int, result)))


@waits
async def await_future(p, act, word):
    return show(await p.awaitable(word, body, act.label + "/"))


@waits
async def await_wait_for(p, act, word, timeout):
    return show(await asyncio.wait_for(p.awaitable(word), seconds(timeout)))


@waits
async def await_wait(p, act, *words):
    words, timeout = split_timeout(words)
    when = "ALL_COMPLETED"
    if words[-1].startswith(("FIRST_", "ALL_")):
        words, when = words[:-1], words[-1]
    # Which of several failures that are there already is looked at depends on the order of a set.
    futures = p.in_order(words) if when == "FIRST_EXCEPTION" else p.awaitables(words)
    done, pending = await asyncio.wait(futures, timeout=timeout, return_when=when)
    del futures
    return f"{names_of(p, words, done)} | {names_of(p, words, pending)}"


def names_of(p, words, futures):
    return " ".join([w for w in dict.fromkeys(words) if w in p.names and p.names[w] in futures])


def split_timeout(words):
    if len(words) > 1 and words[-2] == "timeout":
        return words[:-2], seconds(words[-1])
    return words, None


@waits
async def await_as_completed(p, act, *words):
    words, timeout = split_timeout(words)
    outcomes = []
    for coming in asyncio.as_completed(p.in_order(words), timeout=timeout):
        try:
            outcomes.append(show(await coming))
        except Exception as error:
            forget_where(error)
            outcomes.append(describe(error))
        p.log(act.label, 0, outcomes[-1])
    return " ".join(outcomes)


async def await_acquire(p, act, lock):
    return show(await p.names[lock].acquire())


async def await_wait_method(p, act, x):
    return show(await p.names[x].wait())


async def await_condition_wait_for(p, act, condition, event):
    return show(await p.names[condition].wait_for(p.names[event].is_set))


async def await_reset(p, act, barrier):
    return show(await p.names[barrier].reset())


async def await_abort(p, act, barrier):
    return show(await p.names[barrier].abort())


async def await_put(p, act, queue, item):
    return show(await p.names[queue].put(int(item)))


async def await_get(p, act, queue):
    return show(await p.names[queue].get())


async def await_join(p, act, queue):
    return show(await p.names[queue].join())


AWAIT.update({".acquire": await_acquire, ".wait": await_wait_method, ".wait_for": await_condition_wait_for,
              ".reset": await_reset, ".abort": await_abort, ".put": await_put, ".get": await_get, ".join": await_join})


descriptor = world.install(SYNC, AWAIT, Unbound, show, describe, lambda kind, *message: EXCEPTIONS[kind](*message))


# ---- Coroutines, functions and blocks.


async def body(p, function, label):
    """What a coroutine of the program does."""
    ops, line = p.functions[function]
    if p.over or p.too_many_calls():
        return 0
    act = Activation(label)
    p.log(label, line, "start")
    await block(p, ops, act)
    return act.returned or 0


async def anonymous(p, function, label):
    """The same for `f()` among the arguments of gather and others: its task lives as long as the program."""
    p.keep(asyncio.current_task())
    return await body(p, function, label)


async def block(p, ops, act):
    for kind, line, function, words in ops:
        if p.over:
            return
        if kind == "sync":
            p.do(line, function, words, act)
        elif kind == "await":
            try:
                outcome = await function(p, act, *words)
            except (Unbound, AttributeError):
                outcome = "unbound"
            except BaseException as caught:
                error = caught
                forget_where(error)
                p.log(act.label, line, describe(error))
                raise error
            finally:
                error = None
            p.log(act.label, line, outcome)
        elif kind == "block":
            await function(p, act, line, *words)
        else:
            p.leave(kind, line, words, act)
        if act.returned is not None:
            return


async def try_block(p, act, line, ops, handlers, final):
    try:
        try:
            await block(p, ops, act)
        except GeneratorExit:
            raise
        except BaseException as error:
            for kind, handler_ops, handler_line in handlers:
                if isinstance(error, kind):
                    break
            else:
                raise
            forget_where(error)
            p.log(act.label, handler_line, "caught")
            await block(p, handler_ops, act)
    finally:
        if final:
            returned, act.returned = act.returned, None
            await block(p, final, act)
            if act.returned is None:
                act.returned = returned


async def managed(p, act, line, ops, enter):
    try:
        async with enter(p):
            await block(p, ops, act)
    except (Unbound, AttributeError):
        p.log(act.label, line, "unbound")
        return
    except BaseException as error:
        forget_where(error)
        p.log(act.label, line, describe(error))
        raise
    p.log(act.label, line, "ok")


def bound(p, name, manager):
    p.names[name] = manager
    return manager


MANAGERS = {
    "timeout": lambda name, delay: lambda p: bound(p, name, asyncio.timeout(seconds(delay))),
    "timeout_at": lambda name, when: lambda p: bound(p, name, asyncio.timeout_at(seconds(when))),
    "group": lambda name: lambda p: bound(p, name, TaskGroup()),
    "with": lambda name: lambda p: p.names[name],
}


# ---- The parser: each line becomes (kind, line number, function, words).

parsed_lines = {}


def parse_line(text):
    stripped = text.lstrip()
    indent = len(text) - len(stripped)
    words = stripped.split()
    first = words[0]
    if first in ("async", "def", "try", "except", "finally", "raise", "return") or first in MANAGERS:
        return indent, first, None, tuple(words[1:])
    if first == "await":
        words = words[1:]
        if "." in words[0] and words[0][0].isalpha():
            name, called = words[0].split(".")
            return indent, "await", AWAIT["." + called], (name, *words[1:])
        if words[0] in AWAIT:
            return indent, "await", AWAIT[words[0]], tuple(words[1:])
        return indent, "await", AWAIT["future"], tuple(words)
    if len(words) > 1 and words[1] == "=":
        return indent, "sync", SYNC["=" + words[2]], (first, *words[3:])
    if "." in first:
        name, called = first.split(".")
        return indent, "sync", SYNC["." + called], (name, *words[1:])
    return indent, "sync", SYNC[first], tuple(words[1:])


class Parser:
    def __init__(self, text):
        self.lines = []
        for i, line in enumerate(text.split("\n"), 1):
            if line and not line.isspace() and line.lstrip()[0] != "#":
                if line not in parsed_lines:
                    parsed_lines[line] = parse_line(line)
                self.lines.append((i, parsed_lines[line]))
        self.at = 0
        self.functions = Names()

    def block(self, indent):
        ops = []
        lines = self.lines
        while self.at < len(lines):
            line, (depth, kind, function, words) = lines[self.at]
            if depth < indent:
                break
            self.at += 1
            if kind == "sync" or kind == "await":
                ops.append((kind, line, function, words))
            elif kind == "async" or kind == "def":
                self.functions[words[0]] = (self.block(depth + 1), line)
            elif kind == "try":
                ops.append(self.try_(line, depth))
            elif kind in MANAGERS:
                ops.append(("block", line, managed, (self.block(depth + 1), MANAGERS[kind](*words))))
            else:
                ops.append((kind, line, None, words))
        return ops

    def try_(self, line, depth):
        ops, handlers, final = self.block(depth + 1), [], []
        while self.at < len(self.lines):
            number, (indent, kind, _, words) = self.lines[self.at]
            if indent != depth or kind not in ("except", "finally"):
                break
            self.at += 1
            inner = self.block(depth + 1)
            if kind == "except":
                handlers.append((EXCEPTIONS[words[0]], inner, number))
            else:
                final = inner
        return ("block", line, try_block, (ops, handlers, final))


class Interpreter:
    def __init__(self, text):
        parser = Parser(text)
        self.script = parser.block(0)
        self.functions = parser.functions
        self.out = []
        self.reports = []
        self.logged_iteration = self.logged_time = None
        self.over = False
        self.calls = 0
        self.handler = None
        self.names = Names()
        self.kept = []
        self.runner_runs = False  # a Runner's run(): it hears of Ctrl-C
        self.interrupts = set()  # the moments for which Ctrl-C was asked
        self.interrupted = False  # it came
        self.abandoned = False  # what is pending stays so
        self.destroyed = []
        self.callbacks = {}
        self.tokens = Names()
        self.world = world.World()
        self.selector = VirtualSelector(self.flush_reports)
        self.loop = VirtualLoop(self.selector, self.on_default_handler)
        self.loop.set_exception_handler(self.on_exception)

    # The trace.

    def log(self, who, line, outcome):
        if self.over:
            return
        if not self.loop.is_closed():
            self.log_iteration()
        self.out.append(f"{who}:{line} {outcome}" if line else f"{who} {outcome}")

    def log_iteration(self):
        """After Ctrl-C only the time: here it takes an iteration less, NOTES [signals]."""
        iteration, now = self.selector.iteration, self.selector.now
        if now == self.logged_time if self.interrupted else iteration == self.logged_iteration:
            return
        self.logged_iteration, self.logged_time = iteration, now
        self.out.append(f"[{'-' if self.interrupted else iteration}] {number(now)}")

    def flush_reports(self):
        """What nobody retrieved, in one iteration: when a reference goes is known, in which order is not."""
        if self.reports:
            for report in sorted(self.reports):
                self.log("!", 0, report)
            self.reports.clear()

    def on_exception(self, loop, context):
        message = context["message"]
        if "destroyed" in message:
            name = given_name(context["task"])
            if name != "-":
                self.destroyed.append(name)
            return
        who = "task" if message.startswith("Task") else "callback" if "in callback" in message else "future"
        error = context.get("exception")
        text = f"{who} {describe(error) if error else message}"
        if "never retrieved" in message:
            self.reports.append(text)
            return
        self.log("!", 0, text)
        if self.handler:
            self.call(self.handler, "handler")

    def on_default_handler(self, context):
        self.log("!", 0, "default handler")

    # Names.

    def awaitable(self, word, run=anonymous, prefix=""):
        if word.endswith("()"):
            name = word[:-2]
            self.functions[name]
            return run(self, name, prefix + name)
        return self.names[word]

    def awaitables(self, words):
        for each in words:  # first, so that no coroutine is made in vain
            self.functions[each[:-2]] if each.endswith("()") else self.names[each]
        return [self.awaitable(each) for each in words]

    def in_order(self, words):
        """Those that are pending, and the first that is done: as_completed keeps a set, whose order is arbitrary."""
        pending, done = [], []
        for each in self.awaitables(words):
            (done if asyncio.isfuture(each) and each.done() else pending).append(each)
        return pending + done[:1]

    def keep(self, task):
        if task not in self.kept:
            self.kept.append(task)

    def too_many_calls(self):
        self.calls += 1
        return self.calls > MAX_CALLS

    # Running.

    def do(self, line, function, words, act):
        """One operation that does not wait; what it raises is its outcome."""
        try:
            outcome = function(self, act, *words)
        except (Unbound, AttributeError):
            outcome = "unbound"
        except BaseException as caught:
            error = caught
            forget_where(error)
            outcome = str(error) if type(error) is Stuck else describe(error)
        outcome = "ok" if outcome is None else outcome
        self.log(act.label, line, outcome)
        return outcome

    def leave(self, kind, line, words, act):
        if kind == "return":
            act.returned = int(words[0])
            return
        error = EXCEPTIONS[words[0]](*words[1:])
        self.log(act.label, line, "raises")
        raise error

    def call(self, function, label):
        """What a function of the program does."""
        if self.over or self.too_many_calls():
            return
        ops, line = self.functions[function]
        act = Activation(label)
        self.log(label, line, "start")
        for kind, line, function, words in ops:
            if kind == "sync":
                self.do(line, function, words, act)
            else:
                self.leave(kind, line, words, act)
            if act.returned is not None:
                return

    def execute(self):
        asyncio.set_event_loop(self.loop)
        act = Activation("script")
        ran = False
        for kind, line, function, words in self.script:
            if self.loop.is_closed():  # by a Runner
                break
            ran = ran or function in (run, run_forever, runner)
            self.do(line, function, words, act)
        if not ran:
            self.do(0, run, ("main()",), act)
        self.summary() if self.loop.is_closed() or self.abandoned else self.finish(act)
        return "\n".join(self.out)

    def finish(self, act):
        """Lets everything end that can; cancels the rest."""
        for i in range(MAX_ROUNDS):
            self.drain(act)
            pending = [future for future in self.kept if not future.done()]
            if not pending:
                break
            self.log("script", 0, f"cancels {len(pending)}")
            for future in pending:
                future.cancel()
            del future, pending
        else:
            self.drain(act)
        self.summary()

    def drain(self, act):
        """Until nothing more happens: what stands in the queue keeps futures alive."""
        for i in range(MAX_STOPS):
            if self.do(0, run_forever, (), act) in ("idle", "limit"):
                break

    def state(self, future):
        if future.cancelled() or (self.loop.is_closed() and isinstance(future, asyncio.Task) and not future.done()):
            return "cancelled"  # NOTES [ended-with-loop]
        return "done" if future.done() else "pending"

    def summary(self):
        for name in sorted(self.names):
            value = self.names[name]
            if asyncio.isfuture(value):
                self.log(name, 0, self.state(value))
        value = None
        pending = any(not future.done() for future in self.kept)
        if pending and not self.loop.is_closed():
            self.log("script", 0, "still pending")
        self.over = pending or self.loop.is_closed()
        self.names.clear()
        self.kept.clear()
        self.callbacks.clear()
        gc.collect()
        if not self.loop.is_closed():
            self.flush_reports()
        self.over = True
        self.world.close(self.loop)
        self.loop.close()
        asyncio.set_event_loop(None)
        if pending:
            self.world = None  # keeps what waits for it
            gc.collect()
        self.out += [f"! destroyed {name}" for name in sorted(self.destroyed)]


def trace(text):
    try:
        interpreter = Interpreter(text)
    except (LookupError, TypeError) as error:
        return f"invalid: {error}"
    return contextvars.copy_context().run(interpreter.execute)


def serve():
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while header := stdin.readline():
        programs = stdin.read(int(header)).decode().split("%\n")[:-1]
        answer = "".join([trace(program) + "\n%\n" for program in programs]).encode()
        stdout.write(b"%d\n" % len(answer) + answer)
        stdout.flush()
        gc.collect()
        gc.freeze()  # parsed_lines grows: the collector, which each program calls, should not look at it


def main():
    warnings.simplefilter("ignore")
    logging.disable()
    sys.unraisablehook = lambda unraisable: None
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever whoever started this said
    for number in VIRTUAL:
        os.dup2(sys.stdin.fileno(), number)
    gc.disable()
    gc.collect()
    gc.freeze()
    if sys.argv[1:] == ["--serve"]:
        serve()
        return
    for path in sys.argv[1:]:
        with open(path) as file:
            print(trace(file.read()))


if __name__ == "__main__":
    main()
