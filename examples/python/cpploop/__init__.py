"""CPython on this kernel: an asyncio event loop whose queues, timers, selector and iterations are C++.

    import cpploop
    cpploop.run(main())                                  # instead of asyncio.run(main())
    asyncio.Runner(loop_factory=cpploop.new_event_loop)  # where a loop is asked for

Task, Future, transports, streams and subprocesses stay CPython's own: they run on whatever loop there is.
"""
import asyncio
import sys
import threading
from asyncio import base_events, events, format_helpers
from selectors import SelectorKey

from . import _kernel
from ._kernel import Handle, TimerHandle

__all__ = ["EventLoop", "EventLoopPolicy", "Handle", "TimerHandle", "install", "new_event_loop", "run", "task_of"]


def task_of(handle):
    """The task of which the handle is the next step; None if it calls something else."""
    callback = handle and handle._callback
    owner = getattr(callback, "__self__", None)
    is_step = getattr(callback, "__name__", "__step") in {"__step", "__wakeup", "task_wakeup"}  # and not its cancel()
    return owner if is_step and isinstance(owner, asyncio.Task) else None


class KernelSelector:
    """What loop._selector shows where the kernel waits itself: whom it waits for."""

    def __init__(self, loop):
        self._loop = loop

    def get_map(self):
        return {fd: SelectorKey(fd, fd, events, None) for fd, events in self._loop._registered().items()}

    def get_key(self, file):
        return self.get_map()[file if isinstance(file, int) else file.fileno()]

    def close(self):
        pass  # it ends with the kernel's loop


class _PipeEnd:
    """An end of the kernel's self-pipe, where upstream has a socket."""

    def __init__(self, fd):
        self._fd = fd

    def fileno(self):
        return self._fd


class OnKernel(_kernel.Loop):
    """What the kernel takes over from a loop class of asyncio's that comes behind it in the bases.

    The methods call_soon, call_soon_threadsafe, call_later, call_at, time, _add_reader … are in _kernel.Loop itself.
    """

    # ---- running

    def run_forever(self):
        """Runs until stop() is called."""
        self._check_closed()
        self._check_running()
        hooks = sys.get_asyncgen_hooks()
        try:
            self._set_coroutine_origin_tracking(self._debug)
            self._thread_id = threading.get_ident()
            sys.set_asyncgen_hooks(firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook)
            events._set_running_loop(self)
            self._run_until_stopped()
        finally:
            self._stopping = False
            self._current_handle = self._thread_id = None
            events._set_running_loop(None)
            self._set_coroutine_origin_tracking(False)
            sys.set_asyncgen_hooks(*hooks)

    def _run_until_stopped(self):
        if type(self)._run_once is _kernel.Loop._run_once:
            return self._run()
        while True:  # a subclass that does something in each iteration
            self._run_once()
            if self._stopping:
                return

    def close(self):
        """Drops everything that is scheduled and frees the descriptors."""
        super().close()
        self._close_kernel()

    # ---- the selector and the self-pipe

    @property
    def _selector(self):
        return self._shown_selector

    @_selector.setter
    def _selector(self, selector):
        self._shown_selector = selector
        if selector is not None and not isinstance(selector, KernelSelector):
            self._use_selector(selector)

    def _make_self_pipe(self):
        self._ssock, self._csock = map(_PipeEnd, self._self_pipe())
        self._internal_fds += 1

    def _close_self_pipe(self):
        self._ssock = self._csock = None
        self._internal_fds -= 1

    def _add_callback(self, handle):
        if not handle._cancelled:  # that of a signal: upstream's Handle, which the kernel does not know
            self.call_soon(_run_unless_cancelled, handle)

    # ---- what upstream keeps in attributes, and the kernel for itself

    @property
    def _ready(self):
        return self._queued(False)

    @property
    def _scheduled(self):
        return self._queued(True)

    @_ready.setter
    def _ready(self, empty):
        pass  # upstream's __init__ makes an empty queue

    @_scheduled.setter
    def _scheduled(self, empty):
        pass

    # ---- reports of the kernel

    def _callback_failed(self, message, exception, handle):
        context = {"message": message, "exception": exception}
        if handle is not None:
            source = format_helpers._format_callback_source(handle._callback, handle._args, **_debug_option(self))
            context.update(message=f"Exception in callback {source}", handle=handle)
            if handle._source_traceback:
                context["source_traceback"] = handle._source_traceback
        self.call_exception_handler(context)
        self._current_handle = None

    def _slow_callback(self, handle, seconds):
        base_events.logger.warning("Executing %s took %.3f seconds", base_events._format_handle(handle), seconds)

    def _label(self, handle):
        task = task_of(handle)
        return repr(handle) if task is None else task.get_name()


def _run_unless_cancelled(handle):
    if not handle._cancelled:
        handle._run()


def _debug_option(loop):
    """The argument that format_helpers._format_callback_source has in newer versions."""
    has_option = "debug" in format_helpers._format_callback_source.__code__.co_varnames
    return {"debug": loop.get_debug()} if has_option else {}


class EventLoop(OnKernel, asyncio.SelectorEventLoop):
    """asyncio.SelectorEventLoop on this kernel. With a selector of one's own the kernel waits in that."""

    def __init__(self, selector=None):
        super().__init__(KernelSelector(self) if selector is None else selector)


def new_event_loop():
    return EventLoop()


def run(main, *, debug=None):
    """asyncio.run() on this kernel."""
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)


class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
    """Makes loops on this kernel, also for asyncio.run() and get_event_loop()."""

    _loop_factory = EventLoop


def install():
    """From now on asyncio makes its loops on this kernel."""
    asyncio.set_event_loop_policy(EventLoopPolicy())
