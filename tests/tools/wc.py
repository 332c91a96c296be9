"""Counts code lines, comment density and function lengths against the budgets of the project.

A code line has something besides a comment, a lone brace or parenthesis, or a preprocessor directive: upstream's counts, against which
the budgets were set, have no such lines. The status is 1 where a budget is exceeded."""
import glob
import re
import sys

KERNEL = """selectors/select selectors/selectors loop/events loop/base_events loop/selector_events loop/alone
future/exceptions future/futures task/coroutines task/tasks task/runners""".split()
KERNEL_CAP, LIBRARY_CAP = 1700, 5100  # they only ever fall
FUNCTION_CAP, FUNCTION_P90, FUNCTION_MEDIAN = 40, 20, 8


def split(text):
    """(code lines, comment lines): a line of both counts as code."""
    code = comments = 0
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("//"):
            comments += 1
        elif stripped and not stripped.startswith("#") and not re.fullmatch(r"[\[\](){};,]+(\s*//.*)?", stripped):
            code += 1
    return code, comments


def functions(text):
    """Physical length of every function body, found by its braces."""
    text = re.sub(r'"(\\.|[^"\\\n])*"|\'(\\.|[^\'\\\n])\'', '""', text)
    text = re.sub(r"//[^\n]*", "", text)
    lengths, stack = [], []
    previous = 0
    for match in re.finditer(r"[{};]", text):
        head, previous = text[previous:match.start()], match.end()
        line = text.count("\n", 0, match.start())
        if match.group() == "{":
            is_type = re.search(r"\b(namespace|class|struct|enum|union)\b[^()]*$", head) or "=" in head.split(")")[-1]
            inside = any(kind == "function" for kind, _ in stack)
            named = re.search(r"\)\s*(const|noexcept|override|final|requires|->|:|\w|\s|<|>|,|&|\(|\)|\*)*$", head)
            kind = "function" if named and not is_type and not inside else "other"
            stack.append((kind, line))
        elif match.group() == "}" and stack:
            kind, start = stack.pop()
            if kind == "function":
                lengths.append(line - start + 1)
    return lengths


def main():
    files = sorted(f for room in ("selectors", "loop", "future", "task") for f in glob.glob(f"{room}/**/*.?pp", recursive=True))
    total = kernel = 0
    lengths = []
    print(f"{'file':32}{'code':>6}{'c/100':>7}{'functions':>11}{'longest':>9}")
    for name in files:
        text = open(name).read()
        code, comments = split(text)
        own = functions(text)
        lengths += own
        total += code
        in_kernel = name.rsplit(".", 1)[0] in KERNEL
        kernel += code if in_kernel else 0
        mark = " kernel" if in_kernel else ""
        print(f"{name:32}{code:6}{100 * comments // max(code, 1):7}{len(own):11}{max(own, default=0):9}{mark}")
    lengths.sort()
    median, p90 = lengths[len(lengths) // 2], lengths[len(lengths) * 9 // 10]
    over = []
    for what, lines, cap in (("kernel", kernel, KERNEL_CAP), ("library", total, LIBRARY_CAP)):
        over += [what] if lines > cap else []
        print(f"{what}: {lines} code lines, budget {cap}" + (f": {lines - cap} over, see NOTES.md [budget]" if lines > cap else ""))
    print(f"functions: median {median} (<= {FUNCTION_MEDIAN}), nine in ten <= {p90} (<= {FUNCTION_P90}), "
          f"longest {lengths[-1]} (<= {FUNCTION_CAP})")
    if median > FUNCTION_MEDIAN or p90 > FUNCTION_P90 or lengths[-1] > FUNCTION_CAP:
        over.append("functions")
    sys.exit(f"over budget: {', '.join(over)}" if over else 0)


main()
