# make demo   builds and runs the tour: needs a C++20 compiler and make, nothing else
# make test   installs Catch2 if it is missing, builds and runs all tests
# make differential N=100000 SEED=1   random programs on CPython and here (tests/differential/README.md)
# make mutants   plants defects in a copy of the library: do the tests notice each?
# make check  what CI runs on top;   make bench, bench-echo, bench-fib  the performance tables;   make wc  the line budgets

CXX      ?= g++
ifeq ($(origin CXX),default)
CXX      := $(if $(shell command -v g++),g++,clang++)
endif
OPT      ?= -O2 -g
TEST_OPT ?= -O0 -g1
SANITIZE ?=
BUILD    ?= build/$(notdir $(CXX))$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))
comma    := ,
CXXFLAGS += -std=c++20 -Wall -Wextra -Wpedantic -Werror $(OPT) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer)
CPPFLAGS += -I. -MMD -MP
LDFLAGS  += $(if $(SANITIZE),-fsanitize=$(SANITIZE)) -pthread

LIB_SOURCES  := $(wildcard selectors/*.cpp loop/*.cpp loop/*/*.cpp future/*.cpp task/*.cpp task/*/*.cpp)
EXAMPLES     := $(basename $(wildcard examples/*.cpp examples/*/*.cpp))
TEST_SOURCES := $(wildcard tests/test_*.cpp)
DIFFERENTIAL := $(wildcard tests/differential/*.cpp)
INTERPRETER  := $(patsubst %,tests/differential/%.cpp,interpreter operations program show)
LIB          := $(BUILD)/libasyncio.a
object        = $(patsubst %.cpp,$(BUILD)/%.o,$(1))

# Catch2 v3 (Debian 13) has a library with main(); v2 (Debian 12) is one header.
CATCH_LIBS = $(if $(shell printf '\043include <catch2/catch_all.hpp>' | $(CXX) -std=c++20 -E -x c++ - >/dev/null 2>&1 && echo yes),-lCatch2Main -lCatch2)

.PHONY: all demo examples trace test differential trace-of golden mutants check bench bench-echo bench-fib bench-deps compare wc lint format catch2 clean
.SECONDARY:

all: $(LIB) examples

demo: $(BUILD)/examples/00_tour
	@$(abspath $<)
	@echo
	@echo 'Read next: README.md for the map of the rooms, then loop/base_events.cpp from run_once on.'
	@echo 'Run next:  make examples && ls $(BUILD)/examples   (the ladder 01_… to read and run in order; examples/README.md)'
	@echo '           make test                               (every rule of the loop as a sentence)'

examples: $(addprefix $(BUILD)/,$(EXAMPLES))

trace: $(BUILD)/tests/trace
	@$(abspath $<)

$(BUILD)/tests/trace: $(BUILD)/tests/trace.o $(LIB)
	@$(CXX) $< $(LIB) $(LDFLAGS) -o $@

$(LIB): $(call object,$(LIB_SOURCES))
	@rm -f $@
	@ar rcs $@ $^

# The tests are compiled fast, the library as its users compile it.
$(BUILD)/tests/test_%.o: OPT = $(TEST_OPT)

$(BUILD)/%.o: %.cpp
	@mkdir -p $(@D)
	@echo '  $(notdir $(CXX)) $<'
	@$(CXX) $(CPPFLAGS) $(CXXFLAGS) -c $< -o $@

$(BUILD)/examples/%: $(BUILD)/examples/%.o $(LIB)
	@$(CXX) $< $(LIB) $(LDFLAGS) -o $@

$(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(LIB)
	@$(CXX) $< $(LIB) $(LDFLAGS) -o $@

$(BUILD)/tests/run: $(call object,$(TEST_SOURCES) $(INTERPRETER)) $(LIB)
	@$(CXX) $^ $(LDFLAGS) $(CATCH_LIBS) -o $@

$(BUILD)/tests/differential/differential: $(call object,$(DIFFERENTIAL)) $(LIB)
	@$(CXX) $^ $(LDFLAGS) -o $@

test: catch2
	@$(MAKE) --no-print-directory $(BUILD)/tests/run
	@$(BUILD)/tests/run

# Does a test notice when the library is wrong? tests/mutants/mutants.txt says in which ways.
mutants: catch2
	@CXX="$(CXX)" tests/mutants/run --build $(BUILD)/mutants $(MUTANTS)

catch2:
	@tests/tools/catch2 $(CXX)

# The same programs on CPython's asyncio and here. PYTHON=… names another Python >= 3.12.
N       ?= 100000
SEED    ?= 1
PROGRAM ?= tests/differential/programs/hello.txt

differential: $(BUILD)/tests/differential/differential
	@tests/tools/differential $< run $(N) $(SEED) $(KNOBS)

trace-of: $(BUILD)/tests/differential/differential
	@tests/tools/differential $< trace $(PROGRAM)

golden: $(BUILD)/tests/differential/differential
	@tests/tools/differential $< golden 2100 7 200000 tests/differential/defects.txt >$(BUILD)/golden.txt
	@mv $(BUILD)/golden.txt tests/differential/golden.txt

check:
	@tests/tools/check

compare: examples
	@tests/tools/compare $(BUILD)

bench:
	@tests/tools/bench $(BUILD) "$(CXX)"
	@$(MAKE) --no-print-directory $(BUILD)/tests/bench/echo && $(BUILD)/tests/bench/echo

bench-echo: examples
	@tests/tools/bench-echo $(BUILD)

bench-fib: $(addprefix $(BUILD)/,$(filter examples/fibservers/%,$(EXAMPLES)))
	@tests/tools/bench-fib $(BUILD)

bench-deps:
	@tests/tools/bench-deps

wc:
	@python3 tests/tools/wc.py

lint:
	@tests/tools/lint

format:
	@clang-format -i $$(git ls-files '*.hpp' '*.cpp')

clean:
	rm -rf build

-include $(wildcard $(BUILD)/*/*.d $(BUILD)/*/*/*.d)
