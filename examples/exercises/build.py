"""Compiles a student's version and links it with what `make test` has built: only what has the version in it is compiled.
rules.mk gives the commands in the environment."""
import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess

from course import ROOT, library_sources

BUILD = ROOT / os.environ.get("BUILD", "build/g++")
TRACES = [f"{name}.o" for name in ("examples/exercises/traces", *(f"tests/differential/{name}" for name in
                                   ("interpreter", "operations", "program", "show", "world")))]
# The student's warnings, without those that a function which is not written yet gives.
WARNINGS = "-Wall -Wextra -Wno-unused-parameter -Wno-unused-function -Wno-unused-const-variable -Wno-terminate -Wno-unknown-warning-option"
# Quickly compiled; an index that is out of range ends the program.
FLAGS = "-O0 -g1 -D_GLIBCXX_ASSERTIONS -include stdexcept -fdiagnostics-color=never"


class BuildError(Exception):
    pass


def command(name):
    if name not in os.environ:
        raise BuildError("this is called by make: make exercise N=01")
    return shlex.split(os.environ[name])


def prerequisites(exercise):
    """What stands beside the student's version: built by make, which has nothing to do after `make test`."""
    return dict.fromkeys([*exercise.objects(), *(TRACES if exercise.golden != ["none"] else []), *library()])


def library():
    return [source.replace(".cpp", ".o") for source in library_sources()]


def make(objects):
    missing = [name for name in objects if not (BUILD / name).exists()]
    if len(missing) > 5:
        print(f"building {len(missing)} files that make test would have built: this takes minutes, once", flush=True)
    targets = [str((BUILD / name).relative_to(ROOT)) for name in objects]
    flags = [] if "-j" in os.environ.get("MAKEFLAGS", "") else [f"-j{os.cpu_count() or 2}"]
    done = subprocess.run([os.environ.get("MAKE", "make"), "--no-print-directory", *flags, *targets], cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode:
        raise BuildError(f"the library itself does not build:\n{done.stdout[-3000:]}")


def compile_all(sources, work, more=()):
    """({object's name: its path}, the compiler's words). What is in `work` is taken from there, headers, too. BuildError has
    the compiler's words."""
    # A header beside asyncio.hpp would be found before that in `work`; so what is found is an asyncio.hpp that lies alone.
    alone = work / "objects/asyncio.hpp"
    alone.parent.mkdir(parents=True, exist_ok=True)
    alone.write_bytes((ROOT / "asyncio.hpp").read_bytes())

    def one(source):
        target = work / "objects" / source.replace(".cpp", ".o")
        target.parent.mkdir(parents=True, exist_ok=True)
        path = work / source if (work / source).exists() else ROOT / source
        line = [*command("EXERCISE_COMPILE"), f"-I{alone.parent}", f"-I{work}", f"-I{ROOT}", *WARNINGS.split(), *FLAGS.split(), *more,
                "-c", str(path), "-o", str(target)]
        return target, subprocess.run(line, cwd=ROOT, capture_output=True, text=True, errors="replace")

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        done = list(pool.map(one, sources))
    messages = "\n".join(result.stderr for _, result in done if result.stderr).replace(f"{work}/", "")
    if any(result.returncode for _, result in done):
        raise BuildError(messages)
    return {source.replace(".cpp", ".o"): target for source, (target, _) in zip(sources, done)}, messages


def link(target, objects, replaced, libraries=""):
    """`objects` by their names, each in the version of `replaced` if it is there. The replaced ones come first, because
    several files may have one template's function in them, and the linker takes the first."""
    paths = [replaced[name] for name in objects if name in replaced]
    paths += [BUILD / name for name in objects if name not in replaced]
    line = [*command("EXERCISE_LINK"), *map(str, paths), *shlex.split(libraries), "-o", str(target)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise BuildError(done.stderr)
    return target


def link_all(exercise, work, replaced):
    """(the rules, the traces or None)."""
    rules = link(work / "rules", [*exercise.objects(), *library()], replaced, os.environ["EXERCISE_LIBS"])
    if exercise.golden == ["none"]:
        return rules, None
    return rules, link(work / "traces", [*TRACES, *library()], replaced)


def explain(messages):
    """The first thing that a compiler or linker says, with a word of what it means."""
    lines = [line for line in messages.splitlines() if line.strip()]
    first = next((i for i, line in enumerate(lines) if re.search(r"error:|undefined reference|multiple definition", line)), 0)
    shown = lines[first:first + 12]
    if first and re.match(r"\S.*: In ", lines[first - 1]):
        shown.insert(0, lines[first - 1])
    text = "\n".join(shown)
    hint = ""
    if "undefined reference" in text:
        hint = "a function that others call is gone from your file, or its name or parameters have changed"
    elif "unable to find the promise type" in text or "promise_type" in text:
        hint = "co_await and co_return may stand only in a function that returns a Coroutine"
    elif "return-statement in coroutine" in text or "a 'return' statement is not allowed in coroutine" in text:
        hint = "a function with co_await in it says co_return, not return"
    elif "return-type" in messages or "no return statement" in text:
        hint = "not every way through the function returns a value"
    return text + (f"\n  hint: {hint}" if hint else "")
