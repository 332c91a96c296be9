"""C++ source as tokens, as far as the tools here need it: no preprocessing, no types."""
import re
from typing import NamedTuple

TOKEN = re.compile(r"""
    (?P<comment>//[^\n]*|/\*.*?\*/)
  | (?P<directive>(?<![^\n])[ \t]*\#(?:\\\n|[^\n])*)
  | (?P<string>(?:u8|[uUL])?R"(?P<delimiter>[^()\\\s]*)\(.*?\)(?P=delimiter)"|(?:u8|[uUL])?"(?:\\.|[^"\\\n])*")
  | (?P<character>'(?:\\.|[^'\\\n])+')
  | (?P<number>\.?\d(?:[eEpP][+-]|'(?=\w)|[\w.])*)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<symbol>::|->\*?|\.\.\.|<=>|<<=|<<|<=|>=|==|!=|&&|\|\||\+\+|--|[-+*/%^&|]=|\[\[|.)
  | (?P<space>\s+)
""", re.X | re.S)
# `>>` is two tokens, for it mostly closes two templates; `]]` is two, for it mostly closes two subscripts.
OPENING, CLOSING = {"(": ")", "[": "]", "{": "}", "[[": "]"}, {")", "]", "}"}


class Token(NamedTuple):
    kind: str
    text: str
    line: int
    offset: int = 0  # of its first character in the text


def tokens(text):
    """All but white space, in order. A directive is one token."""
    result, line, position = [], 1, 0
    while position < len(text):
        match = TOKEN.match(text, position)
        kind = match.lastgroup if match.lastgroup != "delimiter" else "string"
        if match.group().isspace():
            kind = "space"
        if kind != "space":
            stripped = match.group().strip()
            result.append(Token(kind, stripped, line, position + match.group().index(stripped)))
        line += match.group().count("\n")
        position = match.end()
    return result


def closing(code, start):
    """The index of the bracket that closes the one at start; the last index where none does."""
    depth = 0
    for i in range(start, len(code)):
        text = code[i].text if code[i].kind == "symbol" else ""
        if text == "[[":
            depth += 2
        elif text in OPENING:
            depth += 1
        elif text in CLOSING:
            depth -= 1
            if depth == 0:
                return i
    return len(code) - 1


def closing_angle(code, start):
    """The index of the `>` that closes the `<` at start, or None where that is not the bracket of a template."""
    depth, i = 0, start
    while i < len(code):
        text = code[i].text
        if text in OPENING and code[i].kind == "symbol":
            i = closing(code, i)
        elif text == "<":
            depth += 1
        elif text == ">":
            depth -= 1
            if depth == 0:
                return i
        elif text in {";", "}", ")", "]"}:
            return None
        i += 1
    return None


def without_template(head):
    """A declaration without its `template <…>`, `requires …` and attributes."""
    i = 0
    while i < len(head):
        if head[i].text == "template" and i + 1 < len(head) and head[i + 1].text == "<":
            i = (closing_angle(head, i + 1) or len(head) - 1) + 1
        elif head[i].text == "[[":
            i = closing(head, i) + 1
        elif head[i].text == "requires":
            i = after_constraint(head, i + 1)
        else:
            break
    return head[i:]


def after_constraint(head, i):
    while i < len(head):
        if head[i].text == "requires":  # requires { … }, requires(T t) { … }
            i += 1
            while i < len(head) and head[i].text in {"(", "{"}:
                i = closing(head, i) + 1
        elif head[i].text == "(":
            i = closing(head, i) + 1
        else:
            while i < len(head) and (head[i].kind == "word" or head[i].text in {"::", "!"}):
                after_name = i + 1 < len(head) and head[i].kind == "word" and head[i + 1].text not in {"::", "<", "&&", "||"}
                i += 1
                if after_name:
                    break
            if i < len(head) and head[i].text == "<":
                i = (closing_angle(head, i) or len(head) - 1) + 1
        if i >= len(head) or head[i].text not in {"&&", "||"}:
            return i
        i += 1
    return i


def qualified_name_before(head, end):
    """The name that ends before the index end, as in `Outer<T>::name(`: "Outer::name"."""
    parts, i = [], end - 1
    while i >= 0 and head[i].kind == "word":
        tilde = "~" if i > 0 and head[i - 1].text == "~" else ""
        parts.insert(0, tilde + head[i].text)
        i -= 2 if tilde else 1
        if i < 0 or head[i].text != "::":
            break
        i -= 1
        if i >= 0 and head[i].text == ">":
            depth = 0
            while i >= 0:
                depth += {">": 1, "<": -1}.get(head[i].text, 0)
                i -= 1
                if depth == 0:
                    break
    return "::".join(parts)


def declared(head):
    """(kind, name) of what a declaration introduces; head is its tokens up to `;`, `{` or a constructor's `:`."""
    head = without_template([token for token in head if token.kind not in {"comment", "directive"}])
    i = 0
    while i < len(head) and head[i].text in {"friend", "inline", "static", "constexpr", "typedef", "export", "extern"}:
        i += 1
    if i < len(head) and head[i].text in {"class", "struct", "union", "enum", "using", "concept", "namespace"}:
        kind = head[i].text
        i += 1
        while i < len(head) and (head[i].text in {"class", "struct", "namespace", "[["}):
            i = closing(head, i) + 1 if head[i].text == "[[" else i + 1
        name = ""
        while i < len(head) and (head[i].kind == "word" or head[i].text == "::"):
            if head[i].text != "final":
                name += head[i].text
            i += 1
        is_type = not any(token.text == "(" for token in head[i:]) or kind in {"using", "concept", "namespace"}
        if is_type or ":" in [token.text for token in head[i:i + 2]]:
            return kind, name
    return declared_value(head)


def declared_value(head):
    """A function or a variable."""
    i = 0
    while i < len(head):
        text = head[i].text
        if text == "operator":
            end = next((j for j in range(i + 2, len(head)) if head[j].text == "("), len(head))
            before = qualified_name_before(head, i + 1)
            return "function", before + "".join(token.text for token in head[i + 1:end])
        if text == "<":
            i = closing_angle(head, i) or i
        elif text in {"explicit", "decltype", "alignas", "noexcept"} and i + 1 < len(head) and head[i + 1].text == "(":
            i = closing(head, i + 1)
        elif text == "(":
            return "function", qualified_name_before(head, i)
        elif text in {"=", "["}:
            return "variable", qualified_name_before(head, i)
        elif text == "[[":
            i = closing(head, i)
        i += 1
    return "variable", qualified_name_before(head, len(head))


def is_initializer(head, kind):
    """Does the brace behind it belong to a value, as in `int a{1};`, or to a member in a constructor's list?"""
    texts = [token.text for token in head]
    if kind == "variable":
        return bool(texts) and texts[-1] not in {"else", "do", "try"}
    if kind != "function":
        return False
    after = texts[texts.index(")"):] if ")" in texts else []
    return ":" in after and head[-1].kind == "word" and head[-1].text not in {"noexcept", "const", "override", "try"}


class Declaration(NamedTuple):
    """What a `;` or a `{` ends."""
    comment: str  # above it
    kind: str  # "function", "variable", "class" …
    name: str  # qualified; of what stands in a function: the function's
    head: list  # its tokens up to there
    brace: int  # the index of its `{`; -1: none
    in_function: bool


def declarations(code):
    """Every declaration of a file, given as tokens, in order."""
    scopes = []  # (kind, name): what each open brace belongs to
    comment, head = "", []

    def qualified(name):
        functions = [outer for kind, outer in scopes if kind == "function"]
        if functions:
            return functions[0]
        return "::".join([outer for kind, outer in scopes if kind in {"class", "struct", "union"}] + [name])

    i = 0
    while i < len(code):
        token = code[i]
        i += 1
        if token.kind == "directive":
            comment = ""
        elif token.kind == "comment":
            if not head:
                comment += " " + token.text.lstrip("/ ")
        elif token.text == "}":
            comment, head = "", []
            scopes[-1:] = []
        elif token.text == ":" and head and head[-1].text in {"public", "private", "protected"}:
            head = []
        elif token.text in {";", "{"}:
            kind, name = declared(head) if head else ("", "")
            if token.text == "{" and is_initializer(head, kind):
                i = closing(code, i - 1) + 1
                continue
            if name:
                in_function = any(outer == "function" for outer, _ in scopes)
                yield Declaration(comment, kind, qualified(name), head, i - 1 if token.text == "{" else -1, in_function)
            if token.text == "{":
                scopes.append((kind, qualified(name) if kind == "function" else name))
            comment, head = "", []
        else:
            head.append(token)
            if token.text in {"(", "[", "[["} and token.kind == "symbol":
                end = closing(code, i - 1)
                head += code[i:end + 1]
                i = end + 1
