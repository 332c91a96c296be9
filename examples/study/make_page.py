#!/usr/bin/env python3
"""Makes a page of a recording: names the source lines, adds the sources, and puts all into one HTML file.

    make_page.py out.json --source mine.cpp -o mine.html [--perfetto mine.trace.json]

README.md says what the recording consists of. The page needs nothing else, neither files nor a network."""
import argparse
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LIBRARY = ("selectors/", "loop/", "future/", "task/")
RECORDER = tuple(f"examples/study/{name}." for name in ("record", "recorder", "watch", "tasks", "program", "virtual_clock"))
SCRIPTS = ["model.js", "words.js", "findings.js", "predict.js", "source.js", "timeline.js", "panes.js", "page.js"]


def short(path: str) -> str:
    """A path as the page shows it: relative to this repository, or else the name only. A compiler's cache may name another copy of it."""
    path = os.path.abspath(path)
    if path.startswith(ROOT + os.sep):
        return os.path.relpath(path, ROOT)
    inside = re.search(r"/((?:selectors|loop|future|task|examples|tests)/.+)$", path)
    return inside.group(1) if inside and os.path.exists(os.path.join(ROOT, inside.group(1))) else os.path.basename(path)


def is_of_program(path: str) -> bool:
    name = short(path)
    if name.startswith(LIBRARY + RECORDER) or path.startswith(("/usr/", "/lib")):
        return False
    return os.path.exists(path) or os.path.exists(os.path.join(ROOT, name))


def function_name(name: str) -> str:
    """Without its arguments: compilers add some of their own to a coroutine."""
    name = re.sub(r"\[clone[^]]*\]|\{lambda.*|::<lambda.*", "", name).strip()
    depth = start = 0
    for i, c in enumerate(name):
        depth += (c == "<") - (c == ">")
        if depth == 0 and c == " ":
            start = i + 1
        if depth == 0 and c == "(" and i > start:
            return name[start:i]
    return name[start:].rstrip(":")


def has_lines(record: dict) -> bool:
    """Whether its places are lines already, and not addresses: of a Python program, and of one of the little language."""
    return "binary" not in record


def resolve(binary: str, addresses: list[int]) -> dict[int, list[list]]:
    """The source lines of each address, innermost first: one for each function that was inlined."""
    if not addresses:
        return {}
    try:
        asked = "\n".join(hex(address) for address in addresses)
        answer = subprocess.run(["addr2line", "-e", binary, "-a", "-f", "-i", "-C"], input=asked, text=True,
                                capture_output=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        print("there is no addr2line (binutils): the page will know the lines of awaits only", file=sys.stderr)
        return {}
    lines, frames = {}, []
    for line in answer:
        if line.startswith("0x"):
            lines[int(line, 16)] = frames = []
        elif len(frames) and len(frames[-1]) == 1:
            path, _, number = line.split(" (")[0].rpartition(":")
            frames[-1] += [path, int(number) if number.isdigit() else 0]
        else:
            frames.append([line])
    return lines


def resolved(record: dict) -> list[list]:
    """Each place as [function, file, line] of all its frames, innermost first."""
    lines = resolve(record.get("binary", ""), sorted({address for place in record["places"] for address in place}))
    return [[frame for address in place for frame in lines.get(address, [])] for place in record["places"]]


def places(stacks: list[list]) -> list[list]:
    """The program's own frames of each stack."""
    return [[[function_name(name), short(path), line] for name, path, line in stack if line > 0 and is_of_program(path)] for stack in stacks]


def name_in_notes(name: str) -> str:
    """A function of the library without namespaces and template arguments. A lambda has no name, nor has a coroutine's end."""
    name, nested = re.sub(r"\(anonymous namespace\)::|\{anonymous\}::", "", name), 1
    while nested:
        name, nested = re.subn(r"<[^<>]*>", "", name)
    is_function = "lambda" not in name and "[clone .destroy]" not in name
    return re.sub(r"^(asyncio|selectors)::", "", function_name(name)) if is_function else ""


def calls(stacks: list[list], rows: dict) -> list[list[str]]:
    """The library's functions of each stack that have a row in NOTES, innermost first."""
    named = [[name_in_notes(name) for name, path, _ in stack if short(path).startswith(LIBRARY)] for stack in stacks]
    return [list(dict.fromkeys(name for name in names if name in rows)) for names in named]


def shorten_paths(record: dict, source: str | None) -> dict[str, str]:
    """Returns the files that the recording names, and their short names. Of a Python program these are relative to its folder, and
    libraries have them already."""
    home = os.path.dirname(os.path.abspath(source or "")) + os.sep
    files = {}

    def shortened(path: str) -> str:
        if has_lines(record) and path and not os.path.isabs(path):
            return path
        name = short(path) if path else ""
        if has_lines(record) and os.sep not in name and path.startswith(home):
            name = os.path.relpath(path, home)
        files[path] = name
        return name

    for task in record["tasks"]:
        task[2] = shortened(task[2])
    for frame in [frame for stack in record["stacks"] + (record["places"] if has_lines(record) else []) for frame in stack]:
        frame[1] = shortened(frame[1])
    return files


def read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def notes() -> dict[str, list[str]]:
    """Our function: [upstream's, why it differs, the heading], as NOTES.md has them."""
    rows, heading = {}, ""
    for line in read(os.path.join(ROOT, "NOTES.md")).splitlines():
        if line.startswith("### "):
            heading = line[4:].strip()
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and cells[1].startswith("`"):
            rows[cells[1].strip("`")] = [cells[2].replace("`", ""), cells[3].replace("`", ""), heading]
    return rows


def complete(record: dict, source: str | None) -> dict:
    """The recording with all that the page shows. Paths of this machine are taken out."""
    record["notes"] = notes()
    if not has_lines(record):
        stacks = resolved(record)
        record["places"], record["calls"] = places(stacks), calls(stacks, record["notes"])
    files = {path: name for path, name in shorten_paths(record, source).items() if os.path.exists(path)}
    if source:
        files[source] = short(source)
    record["sources"] = {name: read(path) for path, name in sorted(files.items())}
    for place in record["places"]:
        for _, path, _ in place:
            whole = os.path.join(ROOT, path)
            if path not in record["sources"] and os.path.exists(whole):
                record["sources"][path] = read(whole)
    record["program"] = short(source) if source else next(iter(record["sources"]), "")
    stem, kind = os.path.splitext(source or "")
    twin = stem + (".cpp" if kind == ".py" else ".py")
    if os.path.exists(twin):
        record["twin"] = [short(twin), read(twin)]
    record.pop("binary", None)
    record["argv"] = [os.path.basename(record["argv"][0])] + record["argv"][1:] if record.get("argv") else []
    return record


def page(record: dict) -> str:
    """The template with style, scripts and recording in it: the record goes where `"@record@"` stands."""
    return shell().replace('"@record@"', json.dumps(record, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/"))


def shell() -> str:
    """The page without a recording, for programs that put one in: `make_page.py --shell`."""
    html = read(os.path.join(HERE, "page.html"))
    html = html.replace("/*@style@*/", read(os.path.join(HERE, "page.css")))
    functions = f"const FUNCTIONS = {read(os.path.join(HERE, 'functions.json'))};\n"
    return html.replace("/*@script@*/", functions + "\n".join(read(os.path.join(HERE, name)) for name in SCRIPTS))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("record", nargs="?")
    arguments.add_argument("--source", help="the program")
    arguments.add_argument("--perfetto", metavar="FILE", help="also write Trace Event JSON, for ui.perfetto.dev")
    arguments.add_argument("--shell", action="store_true", help='the page alone, with "@record@" in place of the recording')
    arguments.add_argument("-o", "--output", default="/dev/stdout")
    given = arguments.parse_args()
    if given.shell:
        text = shell()
    else:
        try:
            record = complete(json.loads(read(given.record)), given.source)
        except FileNotFoundError:
            sys.exit(f"there is no recording {given.record}: did the program end before it could write it?")
        if not record["loops"]:
            sys.exit("no loop was recorded, so there is nothing to show: the program has made none, or one of another class")
        text = page(record)
        if given.perfetto:
            import perfetto
            with open(given.perfetto, "w", encoding="utf-8") as file:
                json.dump(perfetto.trace(record), file)
    with open(given.output, "w", encoding="utf-8") as file:
        file.write(text)
    if given.output != "/dev/stdout":
        print(f"{given.output}: open it in a browser")


if __name__ == "__main__":
    main()
