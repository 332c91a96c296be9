"""The exercises: what exercises.txt says, and the library's source with the bodies of their functions taken out."""
import dataclasses
import pathlib
import re
import sys
import textwrap

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests/tools"))
import cpp_tokens  # noqa: E402

ROOMS = ("selectors", "loop", "future", "task")
ALONE = "loop/alone.cpp"  # the kernel's only
WIDTH = 112


class CourseError(Exception):
    """exercises.txt does not fit the library's source."""


@dataclasses.dataclass
class Exercise:
    number: str
    title: str = ""
    file: str = ""  # that has the functions
    function: list = dataclasses.field(default_factory=list)  # names; with the parameters where there are overloads
    read: str = ""  # what to read before
    write: str = ""  # what to write, and what is easily forgotten
    tests: list = dataclasses.field(default_factory=list)  # whose rules must hold: names of files, the nearest first
    also: list = dataclasses.field(default_factory=list)  # what is compiled anew, too, because the file is a header
    golden: list = dataclasses.field(default_factory=list)  # words of the golden programs that reach it; or all, or none

    def compiled(self):
        """The sources that are compiled with the student's version."""
        return [self.file] * self.file.endswith(".cpp") + self.also

    def objects(self):
        """What make test has built, and is linked beside it."""
        return [f"tests/{name}.o" for name in ["test_main", "test_utils", *self.tests]]


@dataclasses.dataclass
class Hole:
    """A function's definition in a text: its body stands between its braces at start and end."""
    name: str
    start: int
    end: int
    indent: str
    upstream: str
    contract: str  # what the header says; what stands above the definition is left there


def load(path=HERE / "exercises.txt"):
    exercises = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        key, _, value = line.partition(":")
        value = value.strip()
        if not line.strip() or line.startswith("#"):
            continue
        if key == "exercise":
            exercises.append(Exercise(value))
        elif not exercises or key not in {field.name for field in dataclasses.fields(Exercise)}:
            raise CourseError(f"{path.name}:{number}: unknown word {key}")
        elif key == "function":
            exercises[-1].function.append(value)
        elif key in ("tests", "also", "golden"):
            setattr(exercises[-1], key, value.split())
        else:
            setattr(exercises[-1], key, f"{getattr(exercises[-1], key)} {value}".strip())
    return exercises


def find(exercises, number):
    """The exercise of that number; of 02, which has parts, all parts. 1 is 01."""
    digits = number.rstrip("abcdefgh")
    wanted = digits.zfill(2) + number[len(digits):]
    return [each for each in exercises if wanted in (each.number, each.number.rstrip("abcdefgh"))]


def read_source(file):
    try:
        return (ROOT / file).read_text(encoding="utf-8")
    except OSError as error:
        raise CourseError(f"{file}: {error.strerror}") from None


def library_sources():
    return sorted(path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*.cpp")
                  if path.relative_to(ROOT).as_posix() != ALONE)


def parameters(head):
    """The text between the brackets of a function's declaration, without spaces and default arguments."""
    start = next((i for i, token in enumerate(head) if token.text == "("), None)
    if start is None:
        return ""
    text = "".join(token.text for token in head[start + 1:cpp_tokens.closing(head, start)])
    return re.sub(r"=[^,]*", "", text)


def fits(declaration, function):
    name, bracket, wanted = function.partition("(")
    if declaration.name != name or declaration.kind != "function" or declaration.in_function:
        return False
    return not bracket or parameters(declaration.head) == re.sub(r"\s", "", wanted.rpartition(")")[0])


def holes(exercise, text):
    """The functions of the exercise, in the order of the text."""
    code = cpp_tokens.tokens(text)
    declarations = list(cpp_tokens.declarations(code))
    found = []
    for function in exercise.function:
        definitions = [d for d in declarations if d.brace >= 0 and fits(d, function)]
        if len(definitions) != 1:
            raise CourseError(f"exercise {exercise.number}: {exercise.file} defines {function} {len(definitions)} times, not once")
        definition = definitions[0]
        end = code[cpp_tokens.closing(code, definition.brace)].offset
        begin = text.rfind("\n", 0, definition.head[0].offset) + 1
        indent = " " * (definition.head[0].offset - begin)
        found.append(Hole(definition.name, code[definition.brace].offset, end, indent, *promised(exercise, definition)))
    return sorted(found, key=lambda hole: hole.start)


def promised(exercise, definition):
    """(upstream's name, the rest) of the comment at the declaration in the header."""
    if not exercise.file.endswith(".cpp"):
        return "", ""
    header = exercise.file.replace(".cpp", ".hpp")
    if not (ROOT / header).exists():
        header = "loop/base_events.hpp"  # the class that selector_events.cpp defines the rest of
    named = [d for d in cpp_tokens.declarations(cpp_tokens.tokens(read_source(header))) if fits(d, definition.name)]
    exact = [d for d in named if parameters(d.head) == parameters(definition.head)]
    contract, _, upstream = (exact or named)[0].comment.partition("asyncio: ") if named else ("", "", "")
    return upstream.strip(), " ".join(contract.split())


def stub(exercise):
    """The file as the student gets it."""
    text = read_source(exercise.file)
    found = holes(exercise, text)
    for hole in reversed(found):
        body = "".join(f"{hole.indent}  {part}\n" for part in stub_lines(exercise, hole, hole is found[0]))
        text = f"{text[:hole.start]}{{\n{body}{hole.indent}{text[hole.end:]}"
    return text


def stub_lines(exercise, hole, is_first):
    lines = []
    if is_first:
        rules = ", ".join(f"tests/{name}.cpp" for name in exercise.tests)
        lines += [f"EXERCISE {exercise.number}: {exercise.title}.", exercise.write, f"Read: {exercise.read}.", f"Rules: {rules}."]
    if hole.upstream:
        lines.append(f"Upstream: {hole.upstream}")
    if hole.contract:
        lines.append(f"Contract: {hole.contract}")
    comment = [f"// {part}" for line in lines for part in textwrap.wrap(line, WIDTH - len(hole.indent), break_on_hyphens=False)]
    return comment + [f'throw std::logic_error("{hole.name} is not written yet");']


def solve(exercise, text):
    """The text with the library's bodies in place of what stands in these functions."""
    source = read_source(exercise.file)
    bodies = {hole.start: source[hole.start:hole.end] for hole in holes(exercise, source)}
    for hole, body in reversed(list(zip(holes(exercise, text), bodies.values()))):
        text = text[:hole.start] + body + text[hole.end:]
    return text


def solution(exercise):
    """The library's definitions of the functions."""
    source = read_source(exercise.file)
    parts = []
    for hole in holes(exercise, source):
        begin = max(source.rfind("\n\n", 0, hole.start), source.rfind(";\n", 0, hole.start), source.rfind("}\n", 0, hole.start))
        parts.append(source[begin + 1:hole.end + 1].strip("\n"))
    return "\n\n".join(parts)


def first_line(exercise, text):
    """The number of the line in which the first function begins."""
    return text.count("\n", 0, holes(exercise, text)[0].start) + 1
