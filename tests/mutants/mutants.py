"""The list of planted defects: read, and planted in the text of a source file. mutants.txt has the format."""
import dataclasses
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


@dataclasses.dataclass
class Edit:
    """One place: the text that is there, and the text with the defect behind the condition MUTANT."""
    file: str
    original: str = ""
    mutated: str = ""


@dataclasses.dataclass
class Mutant:
    name: str
    line: int
    wrong: str = ""
    equivalent: str = ""
    edits: list = dataclasses.field(default_factory=list)


class ListError(Exception):
    pass


def parse(path):
    """The mutants of the list. See its head for the format."""
    mutants, file = [], ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        key, _, text = line.partition(" ")
        if not line.strip() or key.startswith("#"):
            continue
        if key == "name:":
            mutants.append(Mutant(text.strip(), number))
        elif not mutants or key not in ("wrong:", "equivalent:", "file:", "-", "+"):
            raise ListError(f"{path.name}:{number}: neither name:, wrong:, equivalent:, file:, - nor +: {line}")
        elif key == "file:":
            file = text.strip()
        elif key in ("wrong:", "equivalent:"):
            setattr(mutants[-1], key[:-1], text.strip())
        else:
            add_line(mutants[-1], file, key, text)
    check(mutants)
    return mutants


def add_line(mutant, file, sign, text):
    if sign == "-" and (not mutant.edits or mutant.edits[-1].mutated):
        mutant.edits.append(Edit(file))
    edit = mutant.edits[-1] if mutant.edits else Edit(file)
    name = "original" if sign == "-" else "mutated"
    setattr(edit, name, getattr(edit, name) + text + "\n")


def check(mutants):
    seen = set()
    for mutant in mutants:
        if mutant.name in seen:
            raise ListError(f"mutant {mutant.name}: there are two of this name")
        seen.add(mutant.name)
        if not mutant.wrong or not mutant.edits or not any("MUTANT" in edit.mutated for edit in mutant.edits):
            raise ListError(f"mutant {mutant.name}: needs wrong:, file:, a - line and a + line with the word MUTANT")


def pattern(snippet):
    """Matches the snippet, however its lines are broken."""
    return re.compile(r"\s+".join(map(re.escape, snippet.split())))


def plant(mutants, read):
    """{file: its text with all defects}. They compose: a later snippet may stand inside an earlier one."""
    texts = {}
    for mutant in mutants:
        for edit in mutant.edits:
            original = read(edit.file)
            text = texts.get(edit.file, original)
            for which, count in (("", len(pattern(edit.original).findall(original))),
                                 (" with the mutants before it", len(pattern(edit.original).findall(text)))):
                if count != 1:
                    raise ListError(f"mutant {mutant.name}: {edit.file}{which} has its text {count} times, not once:\n"
                                    f"    {edit.original.strip()}")
            condition = f'mutants::Planted("{mutant.name}")'
            mutated = re.sub(r"\bMUTANT\b", condition, edit.mutated.strip())
            texts[edit.file] = pattern(edit.original).sub(lambda _: mutated, text)
    return texts


def read_source(file):
    try:
        return (ROOT / file).read_text(encoding="utf-8")
    except OSError as error:
        raise ListError(f"{file}: {error.strerror}") from None
