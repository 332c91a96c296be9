"""Does tests/tools/references name what stands below a comment?"""
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("references", os.path.join(HERE, "references"))
references = importlib.util.module_from_spec(importlib.util.spec_from_loader("references", loader))
loader.exec_module(references)


class Declarations(unittest.TestCase):
    def named(self, code, name):
        with tempfile.NamedTemporaryFile("w", suffix=".hpp") as file:
            file.write(code)
            file.flush()
            found = [d.name for d in references.declarations(file.name) if "asyncio: " in d.comment]
        self.assertEqual(found, [name])

    def test_a_function(self):
        self.named("// asyncio: m.f\nint f(int a = g(1));", "f")

    def test_a_template_over_several_lines(self):
        self.named("// asyncio: m.f\ntemplate <class F, class... Args>\n  requires std::invocable<F, Args...> && (sizeof(F) > 1)\n"
                   "auto f(F callable,\n       Args... args) -> Future<std::invoke_result_t<F>>;", "f")

    def test_a_template_whose_default_has_templates(self):
        self.named("// asyncio: m.f\ntemplate <class T = std::map<int, std::vector<int>>, bool B = (1 > 0)>\nvoid f();", "f")

    def test_a_result_with_parentheses_in_it(self):
        self.named("// asyncio: m.f\nstd::function<void(int)> f(std::string name);", "f")

    def test_a_result_that_is_decltype(self):
        self.named("// asyncio: m.f\ndecltype(auto) f(int a);", "f")

    def test_a_member_of_a_nested_class(self):
        self.named("namespace n {\nclass Outer : public Base<int> {\n public:\n  struct Inner {\n    // asyncio: m.f\n"
                   "    void f() const { if (x) { y(); } }\n  };\n};\n}", "Outer::Inner::f")

    def test_a_member_after_a_nested_class(self):
        self.named("class Outer {\n  struct Inner { int a{1}; };\n  // asyncio: m.f\n  template <class T>\n  T f();\n};", "Outer::f")

    def test_a_member_defined_outside(self):
        self.named("// asyncio: m.f\ntemplate <class T>\nT Outer<T>::Inner::f() {}", "Outer::Inner::f")

    def test_a_constructor_with_a_list(self):
        self.named("class A {\n  // asyncio: m.f\n  explicit A(int a) : a_{a}, b_(a) { c(); }\n};", "A::A")

    def test_a_specialised_class_with_an_attribute(self):
        self.named("// asyncio: m.C\ntemplate <>\nclass [[nodiscard]] C<void> final : public B {};", "C")

    def test_a_variable(self):
        self.named("// asyncio: m.PIPE\ninline constexpr int PIPE = -1;", "PIPE")

    def test_a_type_alias(self):
        self.named("// asyncio: m.T\nusing T = std::vector<int>;", "T")

    def test_a_destructor_and_an_operator(self):
        self.named("struct A {\n  // asyncio: m.d\n  ~A();\n};", "A::~A")
        self.named("struct A {\n  // asyncio: m.d\n  bool operator==(const A&) const;\n};", "A::operator==")

    def test_a_comment_inside_a_function_names_the_function(self):
        self.named("void A::f() {\n  // asyncio: m.f\n  const auto g = [](int a) { return a; };\n}", "A::f")

    def test_the_text_of_a_string_is_no_code(self):
        self.named('void g() { h("{ // asyncio: m.g"); }\n// asyncio: m.f\nvoid f();', "f")


unittest.main()
