"""python -m cpploop script.py ARGUMENTS..., python -m cpploop -m module ARGUMENTS...: the program, on this kernel."""
import pathlib
import runpy
import sys

import cpploop


def main():
    arguments = sys.argv[1:]
    if not arguments or arguments == ["-m"]:
        sys.exit("usage: run script.py ARGUMENTS..., or run -m module ARGUMENTS...")
    cpploop.install()
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[0] = ""
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = str(pathlib.Path(arguments[0]).resolve().parent)
        runpy.run_path(arguments[0], run_name="__main__")


main()
