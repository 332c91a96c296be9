"""python -m cpploop [--watch] script.py ARGUMENTS..., or -m module instead of script.py: the program, on this kernel."""
import pathlib
import runpy
import sys

import cpploop
from cpploop.watch import Watch


def watched_loop():
    loop = cpploop.new_event_loop()
    loop.add_instrument(Watch())
    return loop


def show_exception(kind, error, trace):
    """The traceback begins where the program does."""
    ours = ("<frozen ", str(pathlib.Path(__file__).parent))
    while trace and trace.tb_frame.f_code.co_filename.startswith(ours):
        trace = trace.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--watch"]:
        cpploop.EventLoopPolicy._loop_factory = staticmethod(watched_loop)
        del arguments[0]
    if not arguments or arguments == ["-m"]:
        sys.exit("usage: run [--watch] script.py ARGUMENTS..., or run [--watch] -m module ARGUMENTS...")
    cpploop.install()
    sys.excepthook = show_exception
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[0] = ""
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = str(pathlib.Path(arguments[0]).resolve().parent)
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
