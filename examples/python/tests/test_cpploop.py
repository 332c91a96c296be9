"""What the binding promises, and the kernel cannot know: Python's handles, contexts, exceptions, signals, threads, garbage."""
import asyncio
import contextvars
import faulthandler
import gc
import logging
import os
import pathlib
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
import warnings
import weakref

import cpploop

faulthandler.dump_traceback_later(120, exit=True)  # a wait that nothing ends is a failure
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts us in the background has it ignored
RUN = pathlib.Path(cpploop.__file__).parents[1] / "run"


def run_once(loop):
    loop.call_soon(loop.stop)
    loop.run_forever()


class LoopTest(unittest.TestCase):
    def setUp(self):
        self.loop = cpploop.new_event_loop()
        self.addCleanup(self.loop.close)


class Handles(LoopTest):
    def test_they_are_handles_of_asyncio(self):
        self.assertIsInstance(self.loop.call_soon(print), asyncio.Handle)
        self.assertIsInstance(self.loop.call_later(1, print), asyncio.TimerHandle)

    def test_they_look_like_those_of_the_stock_loop(self):
        def callback(*args):
            pass

        stock = asyncio.SelectorEventLoop()
        self.addCleanup(stock.close)
        for debug in (False, True):
            for cancel in (False, True):
                shown = []
                for loop in (stock, self.loop):
                    loop.set_debug(debug)
                    for handle in (loop.call_soon(callback, 1, "x"), loop.call_at(7, callback, 1, "x")):
                        if cancel:
                            handle.cancel()
                        shown.append(repr(handle).replace(repr(loop), "LOOP"))
                self.assertEqual(shown[:2], shown[2:])

    def test_cancelled_handles_are_not_called_and_drop_what_they_hold(self):
        class Argument:
            pass

        called, argument = [], Argument()
        gone = weakref.ref(argument)
        handles = [self.loop.call_soon(called.append, argument), self.loop.call_later(0, called.append, argument)]
        del argument
        for handle in handles:
            self.assertFalse(handle.cancelled())
            handle.cancel()
            handle.cancel()
            self.assertTrue(handle.cancelled())
        self.assertIsNone(gone())
        run_once(self.loop)
        self.assertEqual(called, [])

    def test_a_handle_may_cancel_itself_while_it_runs(self):
        handles, seen = [], []

        def callback(argument):
            handles[0].cancel()
            seen.append(argument)

        handles.append(self.loop.call_soon(callback, "argument"))
        run_once(self.loop)
        self.assertEqual(seen, ["argument"])

    def test_when_is_the_number_that_was_given(self):
        self.assertEqual(repr(self.loop.call_at(10, print).when()), "10")
        before = self.loop.time()
        self.assertGreaterEqual(self.loop.call_later(5, print).when(), before + 5)

    def test_timers_compare_by_their_time(self):
        first, second = self.loop.call_at(2, print), self.loop.call_at(1, print)
        self.assertLess(second, first)
        self.assertEqual(sorted([first, second]), [second, first])

    def test_a_handle_may_outlive_its_loop(self):
        loop = cpploop.new_event_loop()
        handles = [loop.call_soon(print), loop.call_later(1, print)]
        loop.close()
        del loop
        gc.collect()
        for handle in handles:
            handle.cancel()
            self.assertTrue(handle.cancelled())

    def test_nobody_else_makes_them(self):
        with self.assertRaises(TypeError):
            cpploop.Handle(print, (), self.loop)


class Order(unittest.TestCase):
    def trace(self, new_loop):
        """What runs when, with timers of equal deadlines and callbacks that schedule callbacks."""
        loop, seen = new_loop(), []
        now = loop.time()
        for i in range(20):
            loop.call_at(now - 1 - i % 3, seen.append, f"timer {i}")
        for i in range(3):
            loop.call_soon(lambda i=i: (seen.append(f"soon {i}"), loop.call_soon(seen.append, f"next {i}")))
        reader, writer = socket.socketpair()
        writer.send(b"x")
        loop.add_reader(reader, lambda: (seen.append("readable"), loop.remove_reader(reader)))
        for _ in range(4):
            run_once(loop)
            seen.append("|")
        loop.close()
        reader.close(), writer.close()
        return seen

    def test_callbacks_timers_and_readers_run_in_the_order_of_the_stock_loop(self):
        self.assertEqual(self.trace(cpploop.new_event_loop), self.trace(asyncio.SelectorEventLoop))


class Arguments(LoopTest):
    def test_wrong_ones_are_the_errors_of_the_stock_loop(self):
        stock = asyncio.SelectorEventLoop()
        self.addCleanup(stock.close)
        for call in (lambda loop: loop.call_soon(), lambda loop: loop.call_later(None, print), lambda loop: loop.call_at(None, print),
                     lambda loop: loop.call_later("1", print), lambda loop: loop.call_soon(print, end=""),
                     lambda loop: loop.add_reader(-1, print), lambda loop: loop.add_reader("file", print),
                     lambda loop: loop.add_reader(10**6, print), lambda loop: loop.remove_reader(object())):
            errors = []
            for loop in (stock, self.loop):
                with self.assertRaises(Exception) as caught:
                    call(loop)
                errors.append(type(caught.exception))
            self.assertEqual(*errors)

    def test_a_closed_loop_takes_nothing(self):
        self.loop.close()
        for call in (lambda: self.loop.call_soon(print), lambda: self.loop.call_soon_threadsafe(print),
                     lambda: self.loop.call_later(1, print), lambda: self.loop.call_at(1, print),
                     lambda: self.loop.add_reader(0, print), self.loop.run_forever):
            with self.assertRaisesRegex(RuntimeError, "Event loop is closed"):
                call()
        self.assertFalse(self.loop.remove_reader(0))

    def test_debug_mode_refuses_coroutines_and_foreign_threads(self):
        self.loop.set_debug(True)

        async def coroutine():
            pass

        with self.assertRaisesRegex(TypeError, "coroutines cannot be used with call_soon"):
            self.loop.call_soon(coroutine)
        errors = []

        def foreign():
            try:
                self.loop.call_soon(print)
            except RuntimeError as error:
                errors.append(str(error))
            self.loop.call_soon_threadsafe(self.loop.stop)

        thread = threading.Thread(target=foreign)
        self.loop.call_soon(thread.start)
        self.loop.run_forever()
        thread.join()
        self.assertIn("Non-thread-safe operation", errors[0])


class Contexts(LoopTest):
    def test_a_callback_runs_in_the_context_that_is_given_or_in_a_copy(self):
        variable = contextvars.ContextVar("variable", default="unset")
        given = contextvars.Context()
        given.run(variable.set, "given")
        seen = []
        variable.set("outside")

        def callback():
            seen.append(variable.get())
            variable.set("inside")

        self.loop.call_soon(callback, context=given)
        self.loop.call_soon(callback)
        self.loop.call_soon_threadsafe(callback)
        self.loop.call_later(0, callback, context=given)
        self.loop.call_soon(self.loop.call_soon, self.loop.stop)
        self.loop.run_forever()
        self.assertEqual(seen, ["given", "outside", "outside", "inside"])
        self.assertEqual((variable.get(), given[variable]), ("outside", "inside"))

    def test_a_context_that_is_entered_is_an_error_of_the_callback(self):
        context = contextvars.Context()
        self.loop.call_soon(print, context=context)
        with self.assertLogs("asyncio", logging.ERROR) as logs:
            context.run(run_once, self.loop)
        self.assertRegex(logs.output[0], "(?s)Exception in callback print.*RuntimeError: cannot enter context")


class Errors(LoopTest):
    def report_of(self, loop):
        reported = []
        loop.set_exception_handler(lambda loop, context: reported.append(context))
        handle = loop.call_soon(int, "no number")
        run_once(loop)
        self.assertIs(reported[0]["handle"], handle)
        made_at = reported[0].pop("source_traceback", [None])[-1]  # the newest frame; how deep it goes is a number of frames
        return made_at, {key: str(value) for key, value in reported[0].items()}

    def test_the_exception_handler_is_told_what_the_stock_loop_tells_it(self):
        stock = asyncio.SelectorEventLoop()
        self.addCleanup(stock.close)
        for debug in (False, True):
            stock.set_debug(debug), self.loop.set_debug(debug)
            self.assertEqual(self.report_of(self.loop), self.report_of(stock))

    def test_without_a_handler_it_is_logged_with_its_traceback(self):
        def failing():
            raise ValueError("as ever")

        self.loop.call_soon(failing)
        with self.assertLogs("asyncio", logging.ERROR) as logs:
            run_once(self.loop)
        self.assertIn("Exception in callback", logs.output[0])
        self.assertIn("in failing", logs.output[0])

    def test_keyboard_interrupt_and_system_exit_leave_the_loop_which_can_run_again(self):
        for exception in (KeyboardInterrupt, SystemExit(3)):
            def failing():
                raise exception

            seen = []
            self.loop.call_soon(failing)
            self.loop.call_soon(seen.append, 1)
            with self.assertRaises(type(exception) if isinstance(exception, SystemExit) else exception):
                self.loop.run_forever()
            self.assertFalse(self.loop.is_running())
            run_once(self.loop)
            self.assertEqual(seen, [1])

    def test_slow_callbacks_are_reported_as_upstream_does(self):
        self.loop.set_debug(True)
        self.loop.slow_callback_duration = 0.0
        self.loop.call_soon(max, 1, 2)
        with self.assertLogs("asyncio", logging.WARNING) as logs:
            run_once(self.loop)
        self.assertRegex(logs.output[0], r"Executing <Handle .*max\(1, 2\).* created at .*> took 0\.\d\d\d seconds")


class Signals(LoopTest):
    def alarm(self, handler, seconds=0.01):
        previous = signal.signal(signal.SIGALRM, handler)
        self.addCleanup(signal.signal, signal.SIGALRM, previous)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def test_what_a_signal_handler_raises_ends_a_wait_without_limit(self):
        class Alarm(Exception):
            pass

        def handler(*_):
            raise Alarm

        self.alarm(handler)
        with self.assertRaises(Alarm):
            self.loop.run_forever()
        self.assertFalse(self.loop.is_running())
        run_once(self.loop)

    def test_a_signal_handler_that_returns_does_not_shorten_a_wait(self):
        seen = []
        self.alarm(lambda *_: seen.append("signal"))
        when = self.loop.time() + 0.05
        self.loop.call_at(when, self.loop.stop)
        self.loop.run_forever()
        self.assertGreaterEqual(self.loop.time(), when - 1e-9)
        self.assertEqual(seen, ["signal"])

    def test_a_signal_handler_may_schedule_while_the_loop_waits(self):
        self.alarm(lambda *_: self.loop.call_soon_threadsafe(self.loop.stop))
        self.loop.run_forever()

    def test_a_signal_handler_may_add_a_reader_while_the_loop_waits(self):
        reader, writer = socket.socketpair()
        self.addCleanup(reader.close), self.addCleanup(writer.close)
        writer.send(b"x")
        self.alarm(lambda *_: self.loop.add_reader(reader, self.loop.stop))
        self.loop.run_forever()
        self.assertTrue(self.loop.remove_reader(reader))

    def test_add_signal_handler_calls_in_the_loop_and_once_per_arrival(self):
        seen = []

        def handler(*args):
            seen.append(args)
            if len(seen) == 2:
                self.loop.stop()

        self.loop.add_signal_handler(signal.SIGUSR1, handler, "argument")
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        self.loop.run_forever()
        self.assertEqual(seen, [("argument",)] * 2)
        self.assertTrue(self.loop.remove_signal_handler(signal.SIGUSR1))

    def test_ctrl_c_cancels_what_run_runs(self):
        seen = []

        async def main():
            self.alarm(lambda *_: signal.raise_signal(signal.SIGINT))
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        with self.assertRaises(KeyboardInterrupt):
            cpploop.run(main())
        self.assertEqual(seen, ["cancelled"])

    def test_ctrl_c_ends_run_forever(self):
        self.alarm(lambda *_: signal.raise_signal(signal.SIGINT))
        with self.assertRaises(KeyboardInterrupt):
            self.loop.run_forever()


class Threads(LoopTest):
    def test_other_threads_run_while_the_loop_waits(self):
        seen = []

        def work():
            seen.extend(range(1000))  # needs the GIL
            self.loop.call_soon_threadsafe(self.loop.stop)

        thread = threading.Thread(target=work)
        self.loop.call_soon(thread.start)
        self.loop.run_forever()
        thread.join()
        self.assertEqual(len(seen), 1000)

    def test_what_threads_schedule_all_runs_in_the_order_of_each_thread(self):
        seen, count = [], 2000

        def work(number):
            for i in range(count):
                handle = self.loop.call_soon_threadsafe(seen.append, (number, i))
                if i % 10 == 9:
                    handle.cancelled()
            self.loop.call_soon_threadsafe(ended.append, number)

        ended = []
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while len(ended) < 4:
            run_once(self.loop)
        for thread in threads:
            thread.join()
        for number in range(4):
            self.assertEqual([i for n, i in seen if n == number], list(range(count)))

    def test_readers_cannot_be_changed_from_another_thread_while_the_loop_waits(self):
        errors, waits = [], threading.Event()

        class Watcher:
            def before_select(self, timeout):
                if timeout is None:
                    waits.set()

        def foreign():
            waits.wait()
            while not errors:
                try:
                    self.loop.remove_reader(self.loop.add_reader(reader, print) or reader)
                except RuntimeError as error:
                    errors.append(str(error))
            self.loop.call_soon_threadsafe(self.loop.stop)

        reader, writer = socket.socketpair()
        self.addCleanup(reader.close), self.addCleanup(writer.close)
        self.loop.add_instrument(Watcher())
        thread = threading.Thread(target=foreign)
        thread.start()
        self.loop.run_forever()
        thread.join()
        self.assertIn("another thread", errors[0])


class Selectors(LoopTest):
    def test_a_selector_written_in_python_does_the_waiting(self):
        waits = []

        class Counting(selectors.PollSelector):
            def select(self, timeout=None):
                waits.append(timeout)
                return super().select(timeout)

        loop = cpploop.EventLoop(Counting())
        self.addCleanup(loop.close)
        self.assertIsInstance(loop._selector, Counting)
        reader, writer = socket.socketpair()
        self.addCleanup(reader.close), self.addCleanup(writer.close)
        writer.send(b"x")
        loop.add_reader(reader, loop.stop)
        loop.run_forever()
        self.assertTrue(loop.remove_reader(reader))
        self.assertEqual(waits, [None])

    def test_the_kernel_s_own_can_be_asked_what_it_watches(self):
        reader, writer = socket.socketpair()
        self.addCleanup(reader.close), self.addCleanup(writer.close)
        self.loop.add_reader(reader, print)
        self.loop.add_writer(reader, print)
        self.assertEqual(self.loop._selector.get_key(reader).events, selectors.EVENT_READ | selectors.EVENT_WRITE)
        self.loop.remove_reader(reader)
        self.assertEqual(self.loop._selector.get_key(reader).events, selectors.EVENT_WRITE)

    def test_a_subclass_may_have_a_clock_of_its_own(self):
        class VirtualClock(selectors.SelectSelector):
            now = 0.0

            def select(self, timeout=None):
                self.now += timeout or 0
                return super().select(0)

        class Loop(cpploop.EventLoop):
            def time(self):
                return clock.now

        clock = VirtualClock()

        async def main():
            await asyncio.sleep(3600)
            return asyncio.get_running_loop().time()

        with asyncio.Runner(loop_factory=lambda: Loop(clock)) as runner:
            self.assertEqual(runner.run(main()), 3600.0)


class Instruments(LoopTest):
    def test_an_object_is_told_what_the_loop_does_and_which_task_steps(self):
        seen = []

        class Recorder:
            def before_select(self, timeout):
                seen.append(f"select {timeout}")

            def before_run(self, handle):
                task = cpploop.task_of(handle)
                seen.append(f"run {task.get_name() if task else handle._callback.__name__}")

            def handle_scheduled(self, handle, by):
                seen.append("scheduled")

        async def main():
            await asyncio.sleep(0)

        recorder = Recorder()
        self.loop.add_instrument(recorder)
        task = self.loop.create_task(main(), name="main")
        self.loop.run_until_complete(task)
        self.assertEqual(seen, ["scheduled", "select 0.0", "run main", "scheduled", "select 0.0", "run main", "scheduled",
                                "select 0.0", "run _run_until_complete_cb"])
        self.loop.remove_instrument(recorder)
        with self.assertRaises(KeyError):
            self.loop.remove_instrument(recorder)
        run_once(self.loop)
        self.assertEqual(len(seen), 9)

    def test_a_handle_that_cancels_a_task_is_no_step_of_it(self):
        async def main():
            self.assertIsNone(cpploop.task_of(self.loop.call_later(1, task.cancel)))

        task = self.loop.create_task(main())
        self.loop.run_until_complete(task)

    def test_one_that_fails_is_reported_and_removed(self):
        class Failing:
            def before_run(self, handle):
                raise ValueError("no")

        reported = []
        self.loop.set_exception_handler(lambda loop, context: reported.append(context))
        self.loop.add_instrument(Failing())
        run_once(self.loop)
        run_once(self.loop)
        self.assertEqual([str(context["exception"]) for context in reported], ["no"])


class Garbage(unittest.TestCase):
    def scenario(self):
        """A bit of everything that makes, runs, cancels and drops handles."""
        async def child(i):
            await asyncio.sleep(0.0001 * (i % 3))
            return i

        async def main():
            loop = asyncio.get_running_loop()
            reader, writer = socket.socketpair()
            with reader, writer:
                reader.setblocking(False)
                loop.call_soon(writer.send, b"abc")
                await loop.sock_recv(reader, 10)
                loop._add_writer(writer, print).cancel()
            loop.call_later(1000, print).cancel()
            loop.call_later(1000, print, loop)
            loop.call_soon(int, "no number")
            await asyncio.gather(*map(child, range(10)))
            await loop.run_in_executor(None, int)
            try:
                await asyncio.wait_for(asyncio.Event().wait(), 0.0001)
            except asyncio.TimeoutError:
                pass

        loop = cpploop.new_event_loop()
        loop.set_exception_handler(lambda loop, context: None)
        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    def test_nothing_is_left_of_loops_and_handles(self):
        def count():
            gc.collect()
            kinds = (cpploop.Handle, cpploop.TimerHandle, cpploop.EventLoop)
            return len([each for each in gc.get_objects() if isinstance(each, kinds)])

        self.scenario()
        before = count()
        for _ in range(20):
            self.scenario()
        self.assertEqual(count(), before)

    def test_reference_counts_are_what_they_were(self):
        watched = [print, int, cpploop.Handle, cpploop.TimerHandle, cpploop.EventLoop, asyncio.Task]

        def counts():
            gc.collect()
            return [sys.getrefcount(each) for each in watched]

        for _ in range(3):
            self.scenario()
        before = counts()
        for _ in range(50):
            self.scenario()
        for each, old, new in zip(watched, before, counts()):
            self.assertLess(abs(new - old), 10, each)

    def test_descriptors_are_given_back(self):
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            self.scenario()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_a_loop_that_is_dropped_with_work_to_do_is_collected(self):
        reader, writer = socket.socketpair()
        self.addCleanup(reader.close), self.addCleanup(writer.close)

        class Argument:
            pass

        loop, argument = cpploop.new_event_loop(), Argument()
        argument.loop, argument.handles = loop, []
        for schedule in (loop.call_soon, loop.call_soon_threadsafe, lambda *args: loop.call_later(5, *args),
                         lambda *args: loop.add_reader(reader, *args)):
            argument.handles.append(schedule(argument.handles.append, argument))
        gone = [weakref.ref(loop), weakref.ref(argument)]
        del loop, argument, schedule
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            gc.collect()
        self.assertEqual([each() for each in gone], [None, None])
        self.assertIn("unclosed event loop", str(caught[0].message))

    def test_an_exception_leaves_no_cycle_behind(self):
        class Argument:
            pass

        def failing(argument):
            raise ValueError

        loop, argument = cpploop.new_event_loop(), Argument()
        loop.set_exception_handler(lambda loop, context: None)
        gone = weakref.ref(argument)
        gc.disable()
        self.addCleanup(gc.enable)
        loop.call_soon(failing, argument)
        del argument
        run_once(loop)
        loop.close()
        self.assertIsNone(gone())


class Programs(unittest.TestCase):
    def run_program(self, text, *arguments, before=()):
        with tempfile.TemporaryDirectory() as directory:
            script = pathlib.Path(directory, "script.py")
            script.write_text(text)
            environment = dict(os.environ, PYTHON=sys.executable)
            return subprocess.run([RUN, *before, script, *arguments], env=environment, capture_output=True, text=True, timeout=60)

    def test_run_runs_a_script_on_this_kernel(self):
        done = self.run_program("import asyncio, sys\n"
                                "async def main():\n"
                                "    print(type(asyncio.get_running_loop()).__module__, __name__, sys.argv[1:])\n"
                                "asyncio.run(main())\n"
                                "sys.exit(5)\n", "a", "b")
        self.assertEqual((done.stdout, done.returncode), ("cpploop __main__ ['a', 'b']\n", 5))

    def test_watch_shows_the_iterations_with_the_tasks_names(self):
        done = self.run_program("import asyncio\n"
                                "async def main():\n"
                                "    await asyncio.create_task(asyncio.sleep(0), name='sleeper')\n"
                                "asyncio.run(main())\n", before=["--watch"])
        lines = [line for line in done.stderr.splitlines() if "schedules" not in line]
        self.assertEqual(lines[:4], ["#1  wait not at all", "      run task Task-1", "#2  wait not at all", "      run task sleeper"])

    def test_a_program_may_end_while_a_daemon_thread_runs_a_loop(self):
        done = self.run_program("import asyncio, threading\n"
                                "def work():\n"
                                "    loop = asyncio.new_event_loop()\n"
                                "    loop.call_soon(started.set)\n"
                                "    again = lambda: loop.call_later(0.0001, again)\n"
                                "    again()\n"
                                "    loop.run_forever()\n"
                                "started = threading.Event()\n"
                                "threading.Thread(target=work, daemon=True).start()\n"
                                "started.wait()\n")
        self.assertEqual((done.stderr, done.returncode), ("", 0))

    def test_ctrl_c_ends_a_program_that_waits(self):
        done = self.run_program("import asyncio, signal\n"
                                "signal.setitimer(signal.ITIMER_REAL, 0.05)\n"
                                "signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))\n"
                                "asyncio.run(asyncio.Event().wait())\n")
        self.assertTrue(done.stderr.rstrip().endswith("KeyboardInterrupt"), done.stderr)
        self.assertEqual(done.returncode, -signal.SIGINT)


if __name__ == "__main__":
    unittest.main()
