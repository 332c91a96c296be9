"""What g++ 12 compiles wrongly, or not as Python would run it, in the coroutines of a program: make lint FILE=mine.cpp

It reads the source without a compiler, so a type it cannot know is taken for one that is not trivial. Each finding is
file:line, what happens, what to write instead; the status is 1 if there is one. --self-test runs it over
tests/tools/lint_corpus, where a line that is to be found says so: `// finds: RULE`."""
import glob
import os
import re
import sys
from dataclasses import dataclass, field

sys.dont_write_bytecode = True
from cpp_tokens import closing, closing_angle, declared, is_initializer, qualified_name_before, tokens, without_template  # noqa: E402

AWAITS = {"co_await", "co_yield", "co_return"}
SCALARS = set("""bool char short int long unsigned signed float double void auto size_t ssize_t ptrdiff_t int8_t int16_t int32_t
    int64_t uint8_t uint16_t uint32_t uint64_t uintptr_t intptr_t char8_t char16_t char32_t byte nullptr_t string_view
    milliseconds seconds microseconds nanoseconds duration time_point chrono std exception_ptr_t""".split()) - {"auto"}
QUALIFIERS = {"const", "constexpr", "static", "volatile", "mutable", "inline", "typename", "std", "chrono", "::", "asyncio"}
CONTAINERS = {"vector", "set", "map", "list", "deque", "unordered_map", "unordered_set", "multimap", "multiset", "initializer_list"}
NO_DECLARATION = AWAITS | set("""return throw delete new goto else case break continue default if while for switch do try sizeof this
    operator not static_assert catch true false nullptr""".split())
DECLARES = set("""using typedef static constexpr const auto extern struct class enum union thread_local volatile
    constinit""".split())
# Calls that change nothing and tell no time: when they are made is all the same.
HARMLESS = set("""string string_view to_string size length empty get move forward min max abs static_cast sizeof begin end data
    format quoted setw str c_str""".split())
BEFORE_OPERAND = {"return", "co_await", "co_return", "co_yield", "case", "throw", "else", "in"}

WHY = {
    "condition": "g++ 12 compiles no way out of a condition with co_await in a function that declares nothing: it crashes or never ends; "
                 "write: {instead}",
    "aggregate": "g++ 12 destroys the aggregate {what} twice, made in one expression with a co_await; name it first: "
                 "const {what} value{{…}};",
    "lambda": "g++ 12 destroys what the lambda captures by value twice, written in one expression with a co_await; name the lambda "
              "first: auto body = [{what}]…; or capture by reference: [&]",
    "list": "g++ 12 says \"array used as initializer\" of a braced list in one expression with a co_await; name it first: "
            "const {what} values{{…}};",
    "conditional": "g++ 12 destroys the temporaries of ?: twice, in one expression with a co_await; write if and else, each with a "
                   "statement of its own",
    "throw": "g++ 12 destroys the exception twice that is made from a co_await; name the value first, then throw",
    "order": "g++ 12 runs every co_await of an expression before what stands left of it ({what}), which Python runs first; name the "
             "value first: const auto value = co_await …;",
}
INSTEAD = {"if": "const auto value = co_await …; if (value) …", "switch": "const auto value = co_await …; switch (value) …",
           "while": "while (true) { const auto value = co_await …; if (!value) break; … }"}


@dataclass
class Unit:
    """The body of a function or of a lambda."""
    start: int  # its braces
    end: int
    is_lambda: bool
    head: list = field(default_factory=list)


@dataclass
class Expression:
    """What the compiler treats as one: a statement, a condition."""
    kind: str
    start: int
    end: int


class Program:
    def __init__(self, text):
        self.code = [token for token in tokens(text) if token.kind not in {"comment", "directive"}]
        self.lambdas = {}  # where its `[` is: (end of the captures, start of the body, end of the body)
        self.functions, self.types, self.enums, self.signatures = [], {}, set(), {}
        self.find_lambdas()
        self.walk(0, len(self.code))
        self.findings = []

    def text(self, i):
        return self.code[i].text if 0 <= i < len(self.code) else ""

    # What the file declares.

    def find_lambdas(self):
        for i, token in enumerate(self.code):
            if token.text != "[" or token.kind != "symbol":
                continue
            before = self.code[i - 1] if i else None
            if before and (before.text in {")", "]", ">"} or before.kind in {"string", "number"}
                           or before.kind == "word" and before.text not in BEFORE_OPERAND):
                continue
            end = j = closing(self.code, i)
            j += 1
            if self.text(j) == "<":
                j = (closing_angle(self.code, j) or j) + 1
            if self.text(j) == "(":
                j = closing(self.code, j) + 1
            while j < len(self.code) and self.text(j) not in {"{", ";", ",", ")", "}", "="}:
                j = closing(self.code, j) + 1 if self.text(j) in {"(", "["} else j + 1
            if self.text(j) == "{":
                self.lambdas[i] = (end, j, closing(self.code, j))

    def walk(self, start, end):
        """The declarations between two braces, or of the file."""
        head, i = [], start
        while i < end:
            token = self.code[i]
            if token.kind == "symbol" and token.text in {"(", "[", "[["}:
                close = closing(self.code, i)
                head += self.code[i:close + 1]
                i = close
            elif token.text == ";":
                self.note_signature(head)
                head = []
            elif token.text == ":" and head and head[-1].text in {"public", "private", "protected"}:
                head = []
            elif token.text == "{" and token.kind == "symbol":
                close = closing(self.code, i)
                if self.note_braces(head, i, close):
                    head = []
                else:
                    head += self.code[i:close + 1]
                i = close
            elif token.text != "}":
                head.append(token)
            i += 1

    def note_braces(self, head, start, end):
        """False where the braces are part of a declaration that goes on."""
        kind, name = declared(head) if head else ("", "")
        if kind in {"class", "struct", "union"}:
            self.types[name.split("::")[-1]] = (kind, head, start, end)
            self.walk(start + 1, end)
        elif kind == "enum":
            self.enums.add(name)
        elif kind == "namespace" or not head or head[-1].kind == "string":
            self.walk(start + 1, end)
        elif kind == "function" and not is_initializer(head, kind):
            self.note_signature(head)
            self.functions.append(Unit(start, end, False, head))
        else:
            return kind == "function" and not is_initializer(head, kind)
        return True

    def note_signature(self, head):
        kind, name = declared(head) if head else ("", "")
        plain = without_template(head)
        if kind == "function" and (opening := next((i for i, token in enumerate(plain) if token.text == "("
                                                    and qualified_name_before(plain, i) == name), None)) is not None:
            parameters = split(plain[opening + 1:closing(plain, opening)])
            self.signatures.setdefault(name.split("::")[-1], []).append(parameters)

    # Types.

    def is_trivial(self, type_tokens):
        """Is there nothing to destroy?"""
        words = [token.text for token in type_tokens if token.text not in QUALIFIERS]
        if not words or words[-1] in {"*", "&", "&&"}:
            return bool(words)
        if words[0] in {"optional", "array", "pair", "atomic", "duration", "span"} and words[1:2] == ["<"]:
            inner = [token for token in type_tokens if token.text not in QUALIFIERS][2:-1]
            return words[0] == "span" or all(self.is_trivial(part) for part in split(inner) if part and part[0].kind == "word")
        if all(word in SCALARS for word in words):
            return True
        return words[-1] in self.enums or (words[-1] in self.types and not self.has_to_be_destroyed(words[-1]))

    def members(self, name):
        """The types of the data members, the declarations of everything else."""
        _, _, start, end = self.types[name]
        data, other, head, i = [], [], [], start + 1
        while i < end:
            text = self.text(i)
            if self.code[i].kind == "symbol" and text in {"(", "[", "[[", "{"}:
                close = closing(self.code, i)
                head += self.code[i:close + 1]
                i = close
                if text != "{" or declared(head)[0] not in {"function", "struct", "class", "enum", "union"}:
                    i += 1
                    continue
                text = ";"
            if text == ":" and head and head[-1].text in {"public", "private", "protected"}:
                head = []
            elif text == ";":
                kind, member = declared(head) if head else ("", "")
                if kind == "variable":
                    if not any(token.text == "static" for token in head):
                        data.append(type_of(head, member))
                elif kind:
                    other.append((kind, member, head))
                head = []
            else:
                head.append(self.code[i])
            i += 1
        return data, other

    def has_to_be_destroyed(self, name):
        data, other = self.members(name)
        bases = self.bases(name)
        return (any(member == "~" + name for _, member, _ in other) or any(not self.is_trivial(base) for base in bases)
                or any(not self.is_trivial(member) for member in data))

    def bases(self, name):
        head = self.types[name][1]
        colon = next((i for i, token in enumerate(head) if token.text == ":"), None)
        return [] if colon is None else [[token for token in part if token.text not in {"public", "private", "protected", "virtual"}]
                                         for part in split(head[colon + 1:])]

    def is_bad_aggregate(self, name):
        """One of the file's own that has no constructor and something to destroy."""
        if name not in self.types:
            return False
        kind, _, start, end = self.types[name]
        texts = [token.text for token in self.code[start:end]]
        _, other = self.members(name)
        hidden = "private" in texts or "protected" in texts or (kind == "class" and "public" not in texts)
        constructed = any(member == name for _, member, _ in other) or any(token.text == "virtual" for _, _, head in other for token in head)
        return not hidden and not constructed and self.has_to_be_destroyed(name)

    # The bodies.

    def check(self):
        units = self.functions + [Unit(start, end, True, self.code[i:start]) for i, (_, start, end) in self.lambdas.items()]
        for unit in units:
            hidden = [(start, end) for _, start, end in self.lambdas.values() if unit.start < start and end < unit.end]
            self.own = {i for i in range(unit.start + 1, unit.end) if not any(start <= i <= end for start, end in hidden)}
            if not any(self.text(i) in AWAITS for i in self.own):
                continue
            self.expressions = []
            self.block(unit.start + 1, unit.end)
            self.check_conditions(unit)
            for expression in self.expressions:
                if self.awaits(expression.start, expression.end):
                    self.check_expression(unit, expression)
        return sorted(set(self.findings))

    def awaits(self, start, end):
        return any(i in self.own and self.text(i) in {"co_await", "co_yield"} for i in range(start, end))

    def find(self, i, rule, what="", instead=""):
        self.findings.append((self.code[i].line, rule, WHY[rule].format(what=what, instead=instead)))

    def block(self, i, end):
        while i < end:
            i = self.statement(i, end)

    def emit(self, kind, start, end):
        if start < end:
            self.expressions.append(Expression(kind, start, end))

    def statement(self, i, end):
        """Notes the expressions of one statement; the index behind it."""
        text = self.text(i)
        if text == "{":
            close = closing(self.code, i)
            self.block(i + 1, close)
            return close + 1
        if text in {"if", "while", "switch", "for", "catch"}:
            return self.controlled(i, end)
        if text == "do":
            i = self.statement(i + 1, end)  # up to its while
            close = closing(self.code, i + 1)
            self.emit("while", i + 2, close)
            return close + 2
        if text in {"else", "try"}:
            return self.statement(i + 1, end)
        if text in {"case", "default"} or (self.code[i].kind == "word" and self.text(i + 1) == ":"):
            while i < end and self.text(i) != ":":
                i += 1
            return i + 1
        start = i
        while i < end and self.text(i) != ";":
            i = closing(self.code, i) + 1 if self.text(i) in {"(", "[", "{", "[["} and self.code[i].kind == "symbol" else i + 1
        self.emit("statement", start, i)
        return i + 1

    def controlled(self, i, end):
        kind = self.text(i)
        i += 1
        while self.text(i) in {"constexpr", "consteval"}:
            i += 1
        if self.text(i) != "(":
            return i + 1
        close = closing(self.code, i)
        parts = self.split_statements(i + 1, close)
        if kind in {"for", "catch"} and len(parts) == 1:
            self.emit("declaration", *parts[0])
        else:
            condition = 1 if kind == "for" else len(parts) - 1
            for number, (start, stop) in enumerate(parts):
                self.emit({"for": "while"}.get(kind, kind) if number == condition else "statement", start, stop)
        return self.statement(close + 1, end) if close + 1 < end else end

    def split_statements(self, start, end):
        parts, i, first = [], start, start
        while i < end:
            if self.text(i) == ";":
                parts.append((first, i))
                first = i + 1
            elif self.text(i) in {"(", "[", "{", "[["} and self.code[i].kind == "symbol":
                i = closing(self.code, i)
            i += 1
        return [*parts, (first, end)]

    # The rules.

    def check_conditions(self, unit):
        if unit.is_lambda or any(unit.start < i < unit.end for i in self.lambdas):
            return
        if any(self.declares(expression) for expression in self.expressions):
            return
        for expression in self.expressions:
            if expression.kind in INSTEAD and self.awaits(expression.start, expression.end):
                self.find(expression.start, "condition", instead=INSTEAD[expression.kind])

    def declares(self, expression):
        i, end = expression.start, expression.end
        if expression.kind == "declaration":
            return self.text(i) != "..."
        while self.text(i) == "[[":
            i = closing(self.code, i) + 1
        if self.text(i) in DECLARES:
            return True
        if self.code[i].kind != "word" and self.text(i) != "::" or self.text(i) in NO_DECLARATION:
            return False
        i = self.after_type(i, end)
        if i is None or i >= end or self.code[i].kind != "word" or self.text(i) in NO_DECLARATION:
            return False
        return i + 1 >= end or self.text(i + 1) in {"=", "{", "(", "[", ",", ":", ";"}

    def after_type(self, i, end):
        """The index behind `ns::name<…>::name const&`."""
        while i < end and self.text(i) in SCALARS - {"std", "chrono"} and self.text(i + 1) in SCALARS:
            i += 1
        while i < end:
            if self.text(i) == "::":
                i += 1
            if self.code[i].kind != "word":
                return None
            i += 1
            if self.text(i) == "<":
                if (close := closing_angle(self.code, i)) is None:
                    return None
                i = close + 1
            if self.text(i) != "::":
                break
        while i < end and self.text(i) in {"const", "*", "&", "&&"}:
            i += 1
        return i

    def check_expression(self, unit, expression):
        start, end = expression.start, expression.end
        if self.text(start) == "throw" and self.awaits(start, end):
            thrown = self.text(start + 1)
            if thrown != "co_await" and not (thrown in self.types and not self.has_to_be_destroyed(thrown)):
                self.find(start, "throw")
        for i in sorted(self.own):
            if not start <= i < end:
                continue
            if i in self.lambdas:
                self.check_captures(i)
            elif self.code[i].kind == "word":
                self.check_temporary(i, unit, expression)
                self.check_arguments(i)
            elif self.text(i) == "?":
                self.check_conditional(i, start, end)
            elif self.text(i) == "{":
                self.check_braces(i, unit, expression)
        self.check_order(start, end)

    def check_captures(self, i):
        for part in split(self.code[i + 1:self.lambdas[i][0]]):
            texts = [token.text for token in part]
            if not texts or texts[0] in {"&", "this"} or texts == ["*", "this"]:
                continue
            if texts == ["="] or not (self.is_trivial_value(part[2:]) if "=" in texts else self.is_trivial_name(texts[0])):
                self.find(i, "lambda", what=" ".join(texts))
                return

    def is_trivial_value(self, part):
        texts = [token.text for token in part if token.text not in {"-", "!", "~"}]
        return len(texts) == 1 and (part[-1].kind in {"number", "character"} or texts[0] in {"true", "false", "nullptr"})

    def is_trivial_name(self, name):
        """Is everything of this name in the file declared with a type that has nothing to destroy?"""
        known = False
        for i in range(1, len(self.code)):
            if self.text(i) != name or self.text(i + 1) not in {"=", "{", "(", ";", ",", ")", ":"}:
                continue
            before = self.code[i - 1]
            if before.text == "auto" and self.text(i + 1) == "=":
                value = self.split_statements(i + 2, len(self.code))[0]
                if not self.is_trivial_value(self.code[slice(*value)]):
                    return False
                known = True
            elif before.text == "*" and self.code[i - 2].kind == "word" and self.text(i - 2) in SCALARS | set(self.types):
                known = True
            elif before.kind == "word" and before.text not in NO_DECLARATION or before.text in {">", "&"}:
                known = before.text in SCALARS | self.enums or (before.text in self.types and not self.has_to_be_destroyed(before.text))
                if before.text == "&":
                    known = self.text(i - 2) in SCALARS
                if not known:
                    return False
        return known

    def check_temporary(self, i, unit, expression):
        """`Type{…}` and `Type(…)`, where Type is an aggregate; `Type name{… co_await …}`, too."""
        name = self.text(i)
        brace = (closing_angle(self.code, i + 1) or i) + 1 if self.text(i + 1) == "<" else i + 1
        if name in CONTAINERS and self.text(i - 1) in {"::", "(", ",", "=", "co_return"}:
            at = brace + 1 if self.code[brace].kind == "word" and self.text(brace + 1) == "{" else brace
            if self.text(at) == "{" and closing(self.code, at) > at + 1:
                self.find(i, "list", what=name)
        if name == "array" and brace > i + 1:
            if self.text(brace) == "{" and not self.is_trivial(split(self.code[i + 2:brace - 1])[0]):
                self.find(i, "aggregate", what="std::array")
        if not self.is_bad_aggregate(name):
            return
        if self.text(brace) == "{" or (self.text(brace) == "(" and len(split(self.code[brace + 1:closing(self.code, brace)])) > 1):
            self.find(i, "aggregate", what=name)
        elif i == expression.start or self.text(i - 1) in {"const", "::"}:
            following = brace + 1
            if self.code[brace].kind == "word" and (self.text(following) == "{"
                                                    or self.text(following) == "=" and self.text(following + 1) == "{"):
                self.find(i, "aggregate", what=name)

    def check_arguments(self, i):
        """`f({…})`, where f is declared in the file and takes an aggregate; and such an argument that has a default."""
        if self.text(i) not in self.signatures or self.text(i + 1) != "(":
            return
        arguments = split(self.code[i + 2:closing(self.code, i + 1)])
        for parameters in self.signatures[self.text(i)]:
            for number, parameter in enumerate(parameters):
                names = [token.text for token in parameter if token.kind == "word" and self.is_bad_aggregate(token.text)]
                equals = any(token.text == "=" for token in parameter)
                if not names or len(arguments) > len(parameters):
                    continue
                if number < len(arguments) and arguments[number] and arguments[number][0].text == "{":
                    self.find(i, "aggregate", what=names[0])
                elif number >= len(arguments) and equals:
                    self.find(i, "aggregate", what=names[0])

    def check_braces(self, i, unit, expression):
        """`co_return {… co_await …}`, where the coroutine returns an aggregate."""
        if self.text(i - 1) == "co_return":
            for name in (token.text for token in unit.head):
                if self.is_bad_aggregate(name):
                    self.find(i, "aggregate", what=name)

    def check_conditional(self, i, start, end):
        first, colon, last = i + 1, None, i + 1
        depth = 0
        while last < end:
            text = self.text(last)
            if self.code[last].kind == "symbol":
                if text in {"(", "[", "{", "[["}:
                    last = closing(self.code, last)
                elif text in {")", "]", "}", ",", ";"}:
                    break
                elif text == "?":
                    depth += 1
                elif text == ":":
                    if depth == 0 and colon is not None:
                        break
                    colon = last if depth == 0 else colon
                    depth = max(0, depth - 1)
            last += 1
        if colon is None:
            return
        arms = [self.code[first:colon], self.code[colon + 1:last]]
        scalar = any(self.is_trivial_value(arm) or is_arithmetic(arm) for arm in arms)
        literals = all(len(arm) == 1 and arm[0].kind == "string" for arm in arms)
        lvalues = all(not any(token.text in {"(", "{", "co_await", "+"} or token.kind == "string" for token in arm) for arm in arms)
        declared_scalar = self.code[start].text in SCALARS - {"std", "void"} and self.text(start + 2) == "="
        discarded = all(self.text(index) not in {"=", "(", "co_return"} for index in range(start, i))
        if not (scalar or literals or lvalues or declared_scalar or discarded):
            self.find(i, "conditional")

    def check_order(self, start, end):
        """Left operands of a co_await, inside the same parentheses: does one do something?"""
        for i in range(start, end):
            if i not in self.own or self.text(i) != "co_await":
                continue
            left = self.operands_left_of(i, start)
            shifts = [j for j in left if self.text(j) == "<<"]
            if len(shifts) > 1 or any(self.text(j) in {"++", "--"} for j in left):
                self.find(i, "order", what="the output" if len(shifts) > 1 else "++ or --")
                continue
            for j in left:
                if self.text(j) == "(" and self.code[j - 1].kind == "word" and j - 1 in left and self.text(j - 1) not in HARMLESS | AWAITS:
                    name = self.text(j - 1)
                    if not self.is_awaited(j - 1, start) and name not in self.types and name not in NO_DECLARATION:
                        self.find(i, "order", what=f"{name}()")
                        break

    def operands_left_of(self, i, start):
        """The indices of what is joined to it by operators that promise no order, or whose order g++ does not keep."""
        found, j = [], i - 1
        joined = False
        while j >= start:
            text = self.text(j)
            if self.code[j].kind == "symbol":
                if text in {"(", "[", "{", ",", ";", "=", "?", ":", "&&", "||", "+=", "-=", "*=", "/=", "%=", "|=", "&=", "^="}:
                    break
                if text in {"+", "-", "*", "/", "%", "|", "^", "&", "<<", "==", "!=", "<", ">", "<=", ">=", "<=>"} and (
                        self.code[j - 1].kind != "symbol" or self.text(j - 1) in {")", "]", "}", "++", "--"}):
                    joined = True
                if text in {")", "]", "}"}:
                    depth = 0
                    while j >= start:
                        depth += {")": 1, "]": 1, "}": 1, "(": -1, "[": -1, "{": -1}.get(self.text(j), 0)
                        if depth == 0:
                            break
                        found.append(j)
                        j -= 1
            if self.code[j].kind == "word" and text in {"return", "co_return", "throw", "case"}:
                break
            found.append(j)
            j -= 1
        return [j for j in found if joined]

    def is_awaited(self, i, start):
        """Is this call what a co_await to its left waits for?"""
        while i > start and (self.code[i].kind == "word" or self.text(i) in {"::", ".", "->"}):
            if self.text(i) == "co_await":
                return True
            i -= 1
        return self.text(i) == "co_await"


def split(part):
    """Tokens between commas."""
    parts, i, current = [], 0, []
    while i < len(part):
        end = None
        if part[i].kind == "symbol" and part[i].text in {"(", "[", "{", "[["}:
            end = closing(part, i)
        elif part[i].text == "<":
            end = closing_angle(part, i)
        if end is not None:
            current += part[i:end + 1]
            i = end + 1
        elif part[i].text == ",":
            parts.append(current)
            current = []
            i += 1
        else:
            current.append(part[i])
            i += 1
    return [*parts, current] if current or parts else []


def is_arithmetic(part):
    """Names and numbers: `filled + 5`."""
    return any(token.kind == "number" for token in part) and not any(token.text in {"(", "{", "co_await"} or token.kind == "string"
                                                                    for token in part)


def type_of(head, member):
    texts = [token.text for token in head]
    return head[:texts.index(member)] if member in texts else head


def lint(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return Program(file.read()).check()


def self_test():
    corpus = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lint_corpus")
    passed = failed = 0
    for path in sorted(glob.glob(os.path.join(corpus, "*.cpp"))):
        with open(path, encoding="utf-8") as file:
            expected = [(number, rule) for number, line in enumerate(file, 1) if (found := re.search(r"// finds: ([a-z, ]+)", line))
                        for rule in found.group(1).split(", ")]
        found = [(line, rule) for line, rule, _ in lint(path)]
        name = os.path.relpath(path, corpus)
        for line, rule in sorted(set(expected) - set(found)):
            print(f"{name}:{line}: not found: {rule}")
        for line, rule in sorted(set(found) - set(expected)):
            print(f"{name}:{line}: a false alarm: {rule}")
        wrong = len(set(expected) ^ set(found))
        failed += wrong
        passed += len(set(expected) & set(found)) + (not expected and not wrong)
    print(f"lint_program: {passed} passed, {failed} failed")
    sys.exit(bool(failed) or not passed)


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
    if not sys.argv[1:]:
        sys.exit("usage: lint_program.py FILES… | --self-test")
    if missing := [path for path in sys.argv[1:] if not os.path.isfile(path)]:
        sys.exit(f"make lint: there is no file {missing[0]}")
    findings = 0
    for path in sys.argv[1:]:
        for line, _, text in lint(path):
            findings += 1
            print(f"{path}:{line}: {text}")
    print(f"lint: {findings or 'no'} finding{'s' if findings != 1 else ''}")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
