#!/usr/bin/env python3
"""Each row of NOTES: upstream's function, as it is installed on this machine, beside ours.

    side_by_side.py PAGE.html      a page of all rows; with links into the pages of recorded runs in the folder study beside it
    side_by_side.py --fn run_once  the rows of one function, in the terminal
    side_by_side.py --check        is there a left and a right half of every row?

Upstream's text is read by Python's inspect at this moment; nothing of it is stored here. Needs Python 3.12 or newer."""
import html
import importlib.machinery
import importlib.util
import inspect
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import sys
import textwrap
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
TOOLS = ROOT / "tests/tools"
LONGEST_CLASS = 40  # lines of a class that are shown: its methods have rows of their own

sys.path.insert(0, str(TOOLS))
sys.dont_write_bytecode = True
_loader = importlib.machinery.SourceFileLoader("references", str(TOOLS / "references"))
references = importlib.util.module_from_spec(importlib.util.spec_from_loader("references", _loader))
_loader.exec_module(references)
sys.path.insert(0, str(HERE))
import runs  # noqa: E402


class Listing(NamedTuple):
    """A piece of a file."""
    where: str  # its file, as a reader would look for it
    first: int
    lines: list


class Row(NamedTuple):
    module: str
    ours: list  # names
    theirs: list
    why: str
    left: list  # Listings of upstream
    right: list  # Listings of ours
    absent: str  # why there is no left half
    fine: bool  # whether each name of upstream's is shown, or cannot be

    @property
    def key(self):
        return f"{self.module}.{self.ours[0]}".replace("::", ".")


# Ours.

class Sources:
    """What the files of a module declare."""

    def __init__(self):
        self.modules = {}

    def of(self, module):
        """[(path, lines, Declaration)] in order, the source before the header: there the bodies are."""
        if module not in self.modules:
            found = []
            for path in reversed(references.files_of(module)):
                lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
                found += [(path, lines, declaration) for declaration in references.declarations(path)]
            self.modules[module] = found
        return self.modules[module]

    def listings(self, module, name, named):
        """The function itself, and its helpers that have no row of their own."""
        own = self.bodies(module, name)
        if not own or re.match(r"\s*(template.*)?\s*(class|struct)\b", own[0].lines[own_start(own[0])]):
            return own
        before, after = self.helpers(module, name, own, {name, *named})
        return own + before + after

    def helpers(self, module, caller, bodies, known):
        """What these bodies call in their own module, in the order of the calls: what the first statement calls, and the rest."""
        code = [line for listing in bodies for line in listing.lines[own_start(listing):]]
        found = ([], [])
        for number, line in enumerate(code):
            for called in re.findall(r"\b([a-z]\w*)\(", line):
                for helper in self.named(module, caller, called):
                    if helper not in known:
                        known.add(helper)
                        own = self.bodies(module, helper, with_declaration=False)
                        before, after = self.helpers(module, helper, own, known)
                        found[number > 1].extend(before + own + after)
        return found

    def named(self, module, name, called):
        scope = name.rpartition("::")[0]
        known = {declaration.name for _, _, declaration in self.of(module) if declaration.has_body}
        return [full for full in dict.fromkeys([f"{scope}::{called}" if scope else called, called]) if full in known]

    def bodies(self, module, name, with_declaration=True):
        found = [entry for entry in self.of(module) if entry[2].name == name]
        bodies = [entry for entry in found if entry[2].has_body and not self.inside_another(entry, found)]
        if with_declaration and not bodies:
            bodies = found[:1]
        return [self.listing(*entry) for entry in bodies]

    @staticmethod
    def inside_another(entry, others):
        """A block of a function counts as a declaration of the same name."""
        path, _, inner = entry
        return any(path == other and outer.has_body and (outer.first, -outer.last) < (inner.first, -inner.last) and inner.last <= outer.last
                   for other, _, outer in others)

    @staticmethod
    def listing(path, lines, declaration):
        first = declaration.first
        while first > 1 and lines[first - 2].lstrip().startswith("//"):
            first -= 1
        return Listing(path, first, shortened(lines[first - 1:declaration.last], "  // … the members have rows of their own"))


def own_start(listing):
    """The index of the first line that is no comment."""
    return next((i for i, line in enumerate(listing.lines) if not line.lstrip().startswith("//")), 0)


def shortened(lines, rest):
    is_class = any(re.match(r"\s*(template.*>\s*)?(class|struct)\b", line) for line in lines[:12])
    return [*lines[:LONGEST_CLASS], rest] if is_class and len(lines) > LONGEST_CLASS else lines


# Upstream's.

def upstream(name):
    """(Listing or None, why there is none, whether that is as it should be)"""
    module = name.partition(".")[0]
    if " " in name:
        return None, f"{name}: written in C, in CPython's Objects/", True
    found = references.find(name)
    if found is None:
        newer = module in references.NEWER or name in references.NEWER_NAMES
        return None, f"{name}: CPython 3.14 has it; this is {sys.version.split()[0]}" if newer else f"asyncio has no {name}", newer
    inside, target = found
    if not getattr(inside, "__file__", "").endswith(".py"):
        return None, f"{name}: written in C", True
    listing = python_source(target) or assignment(inside, name.rpartition(".")[2])
    return listing, "" if listing else f"{name}: written in C", bool(listing) or is_built_in(target)


def is_built_in(target):
    if inspect.isclass(target):
        return not getattr(sys.modules.get(target.__module__), "__file__", "").endswith(".py")
    return inspect.isbuiltin(target) or inspect.ismethoddescriptor(target)


def python_source(target):
    """A function's or a class's own text; None if it is not written in Python."""
    target = inspect.unwrap(target.fget if isinstance(target, property) else target)
    try:
        lines, first = inspect.getsourcelines(target)
        text = textwrap.dedent("".join(lines)).splitlines()
        if inspect.isclass(target) and len(text) > LONGEST_CLASS:
            text = [*text[:LONGEST_CLASS], "    # … the methods have rows of their own"]
        return Listing(pathlib.Path(inspect.getsourcefile(target)).name, first, text)
    except (OSError, TypeError):
        return None


def assignment(module, name):
    """The line in which a module, or a class in it, gives a value to this name."""
    for number, line in enumerate(inspect.getsource(module).splitlines(), 1):
        if re.match(rf"\s*(self\.)?{re.escape(name)}\b[^=(]*=[^=]", line):
            return Listing(pathlib.Path(module.__file__).name, number, [line.strip()])
    return None


def rows():
    table = list(references.notes_rows())
    reasons = notes_reasons()
    named = {name for _, _, ours, _ in table for name in ours}
    sources = Sources()
    for line, module, ours, theirs in table:
        found = [upstream(name) for name in theirs]
        left = [listing for listing, _, _ in found if listing]
        right = [listing for name in ours for listing in sources.listings(module, name, named)]
        yield Row(module, ours, theirs, reasons.get(line, ""), left, right,
                  "; ".join(why for _, why, _ in found if why), all(fine for _, _, fine in found))


def notes_reasons():
    lines = (ROOT / "NOTES.md").read_text(encoding="utf-8").splitlines()
    return {number: line.split("|")[3].strip() for number, line in enumerate(lines, 1) if line.count("|") == 4}


def deviations():
    """{slug: the paragraph in NOTES}"""
    text = (ROOT / "NOTES.md").read_text(encoding="utf-8")
    return {slug: re.sub(r"\s+", " ", body).strip()
            for slug, body in re.findall(r"^ *(?:\d+\.|-) +\*\*\[([a-z0-9-]+)\]\*\*(.*?)(?=^ *\d+\. |^ *- |^\n|^#)", text, re.M | re.S)}


# Which lines belong together.

COMMON = {"self", "this", "the", "a", "of", "is", "if", "else", "for", "in", "not", "and", "or", "return", "def", "const", "auto",
          "void", "noexcept", "std", "none", "to", "it", "asyncio", "static", "cast", "inline", "template", "class", "bool"}


def words(line):
    found = re.findall(r"[A-Za-z_]\w*", re.sub(r"(//|#).*", "", line))
    return {word.strip("_").lower() for word in found} - COMMON - {""}


def aligned(left, right):
    """[(line of left or None, line of right or None, do they have a word in common)]: the pairing in which the most words stand beside themselves. A rare word
    counts most."""
    a, b = [words(line) for line in without_docstrings(left)], [words(line) for line in right]
    rarity = {}
    for word in itertools.chain.from_iterable(a + b):
        rarity[word] = rarity.get(word, 0) + 1
    best = [[0.0] * (len(b) + 1) for _ in range(len(a) + 1)]
    score = {}
    for i in range(len(a) - 1, -1, -1):
        for j in range(len(b) - 1, -1, -1):
            score[i, j] = sum(1 / rarity[word] for word in a[i] & b[j])
            best[i][j] = max(best[i + 1][j], best[i][j + 1], best[i + 1][j + 1] + score[i, j])
    return list(pairs(left, right, best, score))


def pairs(left, right, best, score):
    i = j = 0
    lone_left, lone_right = [], []
    while i < len(left) or j < len(right):
        both = i < len(left) and j < len(right)
        if both and score[i, j] > 0 and best[i][j] == best[i + 1][j + 1] + score[i, j]:
            yield from beside(lone_left, lone_right)
            lone_left, lone_right = [], []
            yield left[i], right[j], True
            i, j = i + 1, j + 1
        elif j == len(right) or both and best[i][j] == best[i + 1][j]:
            lone_left.append(left[i])
            i += 1
        else:
            lone_right.append(right[j])
            j += 1
    yield from beside(lone_left, lone_right)


def beside(left, right):
    return ((a, b, False) for a, b in itertools.zip_longest(left, right))


def without_docstrings(lines):
    inside = False
    for line in lines:
        toggles = len(re.findall(r'"""|\'\'\'', line)) % 2 == 1
        yield "" if inside or toggles or re.match(r'\s*r?("""|\'\'\')', line) else line
        inside ^= toggles


def numbered(listings):
    """The lines of several listings as one list, each (file, number, text)."""
    return [(listing.where, listing.first + i, line) for listing in listings for i, line in enumerate(listing.lines)]


def align_row(row):
    left, right = numbered(row.left), numbered(row.right)
    result, taken = [], [0, 0]
    for a, b, in_common in aligned([line for _, _, line in left], [line for _, _, line in right]):
        cells = []
        for side, (text, lines) in enumerate(((a, left), (b, right))):
            cells.append(lines[taken[side]] if text is not None else None)
            taken[side] += text is not None
        result.append([*cells, in_common])
    return result


# What holds a function in place.

def test_cases():
    """[(file, name, body)] of the tests."""
    result = []
    for path in sorted((ROOT / "tests").glob("test_*.cpp")):
        parts = re.split(r'^TEST_CASE\("((?:[^"\\]|\\.)*)"', path.read_text(encoding="utf-8"), flags=re.M)
        result += [(path.name, parts[i], parts[i + 1]) for i in range(1, len(parts), 2)]
    return result


def tests_of(row, cases):
    names = {name.rpartition("::")[2] for name in row.ours}
    call = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in names))
    own = f"test_{row.module.rpartition('/')[2]}"
    found = [(not file.startswith(own), file, title) for file, title, body in cases if call.search(body)]
    return [(file, title) for _, file, title in sorted(found)]


def planted_defects():
    """[(name, what is wrong, {file: [texts]})] of tests/mutants."""
    result, file = [], ""
    for line in (ROOT / "tests/mutants/mutants.txt").read_text(encoding="utf-8").splitlines():
        key, _, text = line.partition(" ")
        if key == "name:":
            result.append([text.strip(), "", {}])
        elif key == "wrong:":
            result[-1][1] = text.strip()
        elif key == "file:":
            file = text.strip()
        elif key == "-" and result:
            result[-1][2].setdefault(file, []).append(squeezed(text))
    return result


def squeezed(text):
    return re.sub(r"\s+", "", text)


def defects_of(row, defects):
    texts = {}
    for listing in row.right:
        texts[listing.where] = texts.get(listing.where, "") + squeezed("".join(listing.lines))
    return [(name, wrong) for name, wrong, places in defects
            if any(text in texts.get(file, "") for file, snippets in places.items() for text in snippets)]


def run_of(row, first_events, all_rows):
    """(page, event) of a recorded run in which it is at work; None, too, if functions of two modules have its name."""
    modules = {other.module for other in all_rows if set(other.ours) & set(row.ours)}
    return next((first_events[name] for name in row.ours if name in first_events and len(modules) == 1), None)


# The page and the terminal.

def page(target):
    all_rows, cases, defects, first_events = list(rows()), test_cases(), planted_defects(), runs.first_events(target.parent / "study")
    record = [{
        "key": row.key, "module": row.module, "ours": row.ours, "theirs": row.theirs, "why": row.why, "absent": row.absent,
        "lines": align_row(row), "tests": tests_of(row, cases), "defects": defects_of(row, defects),
        "run": run_of(row, first_events, all_rows),
    } for row in all_rows]
    data = {"python": sys.version.split()[0], "rows": record, "deviations": deviations()}
    text = (HERE / "side_by_side.html").read_text(encoding="utf-8")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text.replace("/*DATA*/", json.dumps(data, ensure_ascii=False).replace("</", "<\\/")), encoding="utf-8")
    print(f"{target}: {len(record)} rows, {sum(bool(row.left) for row in all_rows)} with upstream's source from Python {data['python']}, "
          f"{sum(bool(row['run']) for row in record)} with a link into a recorded run")


def terminal(name):
    found = [row for row in rows() if name in {part for full in row.ours + row.theirs for part in (full, re.split(r"::|\.", full)[-1].strip("_"))}
             or name.strip("_") in {re.split(r"::|\.", full)[-1].strip("_") for full in row.ours + row.theirs}]
    if not found:
        sys.exit(f"side-by-side: no row of NOTES.md has a function {name}. The names: make side-by-side, or NOTES.md, \"Row by row\"")
    width = max(40, (shutil.get_terminal_size((160, 40)).columns - 3) // 2)
    for row in found:
        print(f"\n{', '.join(row.theirs):{width}} | {row.module}: {', '.join(row.ours)}")
        print("-" * width + "-+-" + "-" * width)
        for left, right, _ in align_row(row):
            for a, b in itertools.zip_longest(*(wrapped(cell, width) for cell in (left, right)), fillvalue=""):
                print(f"{a:{width}} | {b}".rstrip())
        for text in filter(None, (row.absent, row.why)):
            print(f"({text})")


def wrapped(cell, width):
    return textwrap.wrap(cell[2], width, subsequent_indent="      ", drop_whitespace=False) or [""] if cell else [""]


def check():
    problems = []
    count = 0
    for row in rows():
        count += 1
        if not row.right:
            problems.append(f"{row.key}: there is no {', '.join(row.ours)}")
        if not row.fine:
            problems.append(f"{row.key}: {row.absent}")
    print("\n".join(problems))
    print(f"side-by-side: {count} rows, {len(problems)} of them with a half missing")
    return bool(problems)


def main(arguments):
    if sys.version_info < (3, 12):
        sys.exit("side-by-side: upstream's functions are read from an installed CPython 3.12 or newer; this is "
                 f"{sys.version.split()[0]}. Name another one: make side-by-side PYTHON=python3.13")
    match arguments:
        case ["--check"]:
            return check()
        case ["--fn", name]:
            return terminal(name)
        case [target] if not target.startswith("-"):
            return page(pathlib.Path(target))
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # the output may go to head
    os.chdir(ROOT)
    sys.exit(main(sys.argv[1:]))
