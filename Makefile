# `make help` lists the commands: a target's line is the comment beside it.
# Yours to set: CXX, OPT, SANITIZE, and CPPFLAGS, CXXFLAGS, LDFLAGS, which come after our own flags. What is built is kept in
# build/<compiler>, and built anew when the compiler or a flag has changed.

CXX      ?= g++
ifeq ($(origin CXX),default)
CXX      := $(if $(shell command -v g++),g++,clang++)
endif
OPT      ?= -O2 -g
TEST_OPT ?= -O0 -g1
SANITIZE ?=
comma    := ,
compiler := $(notdir $(firstword $(filter-out %ccache,$(CXX))))
BUILD    ?= build/$(compiler)$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))
PREFIX   ?= /usr/local
VERSION  := 3.13.0# of the CPython whose asyncio this is

# A variable that is given on the command line replaces the one in here: what must not get lost has another name.
optimise  = $(OPT)
warnings := -Wall -Wextra -Wpedantic -Werror
sanitize := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer)
compile   = $(CXX) -std=c++20 -I. -MMD -MP $(defines) $(CPPFLAGS) $(warnings) $(optimise) $(sanitize) $(CXXFLAGS)
link     := $(CXX) $(sanitize) -pthread $(LDFLAGS)

# What the kernel is made of, and nothing else; loop/alone stands for the rooms above where it stands alone.
KERNEL_PYTHON  := $(wildcard $(patsubst %,loop/python/%.cpp,builtins memory contextvars inbox os))
KERNEL_SOURCES := $(addsuffix .cpp,selectors/select selectors/selectors loop/events loop/base_events loop/selector_events \
                  loop/alone future/futures task/coroutines task/tasks task/runners) $(KERNEL_PYTHON)
KERNEL         := $(BUILD)/kernel/libasyncio-kernel.a
KERNEL_LADDER  := $(basename $(wildcard examples/0[1-7]_*.cpp))

LIB_SOURCES  := $(filter-out loop/alone.cpp,$(wildcard $(addsuffix /*.cpp,selectors loop loop/* future task task/*)))
# Not those that a folder's rules.mk builds in its own way.
EXAMPLES     := $(basename $(filter-out $(patsubst %,examples/%/%.cpp,exercises study third_party),\
                                        $(wildcard examples/*.cpp examples/*/*.cpp)))
TEST_SOURCES := $(wildcard tests/test_*.cpp)
DIFFERENTIAL := $(wildcard tests/differential/*.cpp)
INTERPRETER  := $(patsubst %,tests/differential/%.cpp,interpreter operations program show world)
LIB          := $(BUILD)/libasyncio.a
HEADERS      := asyncio.hpp $(wildcard $(addsuffix /*.hpp,selectors loop loop/* future task task/*))
object        = $(patsubst %.cpp,$(BUILD)/%.o,$(1))

# Catch2 v3 (Debian 13) has a library with main(); v2 (Debian 12) is one header.
CATCH_LIBS = $(if $(shell printf '\043include <catch2/catch_all.hpp>' | $(CXX) -std=c++20 -E -x c++ - >/dev/null 2>&1 && echo yes),-lCatch2Main -lCatch2)

.PHONY: all help demo run kernel examples trace test differential trace-of golden mutants check bench-echo bench-fib bench-http \
        bench-deps compare wc lint format install uninstall catch2 clean FORCE
.SECONDARY:

all: $(LIB) examples  ## the library and all example programs

help:  ## this list
	@awk -F ':.*  ## ' '/^[a-z0-9-]+:.*  ## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST)) $(ROOM_RULES)

# Of a make that was told how many jobs to run, the one below is told, too.
demo:  ## builds and runs the tour: needs a C++20 compiler and make, nothing else
	@$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc 2>/dev/null || echo 2)) $(BUILD)/demo
	@$(BUILD)/demo
	@echo
	@echo 'Read next: README.md for the map of the rooms, then loop/base_events.cpp from run_once on.'
	@echo 'Run next:  make examples && ls $(BUILD)/examples   (the ladder 01_… to read and run in order; examples/README.md)'
	@echo '           make test                               (every rule of the loop as a sentence)'
	@echo '           make help                               (all commands)'
	@tests/tools/better_compiler '$(CXX)'

# The tour needs the kernel only.
$(BUILD)/demo: $(BUILD)/kernel/examples/00_tour.o $(KERNEL) $(BUILD)/link.flags
	@$(link) $(filter-out %.flags,$^) -o $@

# A program of one's own, anywhere; what it is warned of is no error.
ifneq ($(filter run,$(MAKECMDGOALS)),)
$(if $(PROGRAM),,$(error make run: say which: make run PROGRAM=mine.cpp ARGS='what it is given'))
$(if $(wildcard $(PROGRAM)),,$(error make run: there is no file $(PROGRAM)))
own := $(BUILD)/run$(basename $(abspath $(PROGRAM)))
$(own).o: $(PROGRAM) $(BUILD)/compile.flags
	@mkdir -p $(@D)
	@$(compile) -Wno-error -c $< -o $@
$(own): $(own).o $(LIB) $(BUILD)/link.flags
	@$(link) $< $(LIB) -o $@
-include $(own).d
endif
run: $(own)  ## a program of your own: make run PROGRAM=mine.cpp ARGS='what it is given'
	@$(abspath $(own)) $(ARGS)

kernel: $(BUILD)/kernel/includes $(KERNEL) $(addprefix $(BUILD)/,$(KERNEL_LADDER)) $(addprefix $(BUILD)/kernel/,$(KERNEL_LADDER))  ## what to read first, built alone: does the ladder from 01 to 07 print the same?
	@tests/tools/kernel run '$(BUILD)' $(KERNEL_LADDER)

# What reaches for the world is named before the linker says what it misses.
$(BUILD)/kernel/includes: FORCE
	@tests/tools/kernel includes '$(CXX)' $(wildcard $(KERNEL_SOURCES) $(KERNEL_SOURCES:.cpp=.hpp)) asyncio.hpp

$(KERNEL): $(call object,$(KERNEL_SOURCES)) $(BUILD)/link.flags
	@mkdir -p $(@D) && rm -f $@
	@ar rcs $@ $(filter %.o,$^)

$(BUILD)/kernel/%.o: defines = -DASYNCIO_KERNEL
$(BUILD)/kernel/%.o: %.cpp $(BUILD)/compile.flags
	@mkdir -p $(@D)
	@echo '  $(compiler) $< (kernel)'
	@$(compile) -c $< -o $@

# All of the archive, so that nothing which no example calls is left unresolved.
$(BUILD)/kernel/examples/%: $(BUILD)/kernel/examples/%.o $(KERNEL) $(BUILD)/link.flags
	@$(link) $< -Wl,--whole-archive $(KERNEL) -Wl,--no-whole-archive -o $@

examples: $(addprefix $(BUILD)/,$(EXAMPLES))  ## all example programs, into build/<compiler>/examples

trace: $(BUILD)/tests/trace  ## what await, cancel and a task group do, iteration by iteration
	@$(abspath $<)

$(BUILD)/tests/trace: $(BUILD)/tests/trace.o $(LIB) $(BUILD)/link.flags
	@$(link) $< $(LIB) -o $@

$(LIB): $(call object,$(LIB_SOURCES)) $(BUILD)/link.flags
	@rm -f $@
	@ar rcs $@ $(filter %.o,$^)

# The tests are compiled fast, the library as its users compile it.
$(BUILD)/tests/test_%.o: optimise = $(TEST_OPT)
$(call object,$(TEST_SOURCES)): $(BUILD)/test.flags

$(BUILD)/%.o: %.cpp $(BUILD)/compile.flags
	@mkdir -p $(@D)
	@echo '  $(compiler) $<'
	@$(compile) -c $< -o $@

$(BUILD)/examples/%: $(BUILD)/examples/%.o $(LIB) $(BUILD)/link.flags
	@$(link) $< $(LIB) -o $@

$(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(LIB) $(BUILD)/link.flags
	@$(link) $< $(LIB) -o $@

$(BUILD)/tests/run: $(call object,$(TEST_SOURCES) $(INTERPRETER)) $(LIB) $(BUILD)/link.flags
	@$(link) $(filter-out %.flags,$^) $(CATCH_LIBS) -o $@

$(BUILD)/tests/differential/differential: $(call object,$(DIFFERENTIAL)) $(LIB) $(BUILD)/link.flags
	@$(link) $(filter-out %.flags,$^) -o $@

# The flags that something was made with are kept in a file beside it, which is written when they have changed. Their text is
# fixed here (:=), because a target for whose sake it is written may have variables of its own.
version       := $(shell $(CXX) --version 2>/dev/null | head -n 1)
compile.flags := $(version): $(compile)
test.flags    := $(TEST_OPT)
link.flags    := $(version): $(link) $(LIB_SOURCES) $(KERNEL_SOURCES)
empty :=
one_word       = =$(subst $(empty) ,,$(1))=
has_changed    = $(filter-out $(call one_word,$($(1))),$(call one_word,$(shell cat $(BUILD)/$(1) 2>/dev/null)))
define remember
$(BUILD)/$(1): $(if $(call has_changed,$(1)),FORCE)
	@mkdir -p $$(@D)
	@printf '%s\n' '$$(subst ','\'',$$($(1)))' >$$@
endef
$(foreach flags,compile.flags test.flags link.flags,$(eval $(call remember,$(flags))))

test: catch2  ## installs Catch2 if it is missing, builds and runs all tests
	@$(MAKE) --no-print-directory $(BUILD)/tests/run
	@$(BUILD)/tests/run

# tests/mutants/mutants.txt says in which ways.
mutants: catch2  ## plants defects in a copy of the library: does a test notice each?
	@CXX="$(CXX)" tests/mutants/run --build $(BUILD)/mutants $(MUTANTS)

catch2:  ## installs Catch2 if it is missing
	@tests/tools/catch2 $(CXX)

# tests/differential/README.md. PYTHON=… names another Python >= 3.12.
N       ?= 100000
SEED    ?= 1
trace-of: PROGRAM ?= tests/differential/programs/hello.txt

differential: $(BUILD)/tests/differential/differential  ## random programs on CPython and here: make differential N=100000 SEED=1
	@tests/tools/differential $< run $(N) $(SEED) $(KNOBS)

trace-of: $(BUILD)/tests/differential/differential  ## one program of that little language, both traces: make trace-of PROGRAM=mine.txt
	@tests/tools/differential $< trace $(PROGRAM)

golden: $(BUILD)/tests/differential/differential  ## the traces that make test compares with, anew, from CPython 3.13
	@tests/tools/differential $< golden 2100 7 200000 tests/differential/defects.txt >$(BUILD)/golden.txt
	@mv $(BUILD)/golden.txt tests/differential/golden.txt

check:  ## what CI does on top of the tests: both compilers, sanitizers, budgets, installing, the examples end to end
	@tests/tools/check

compare: examples  ## every example beside its Python twin: what differs
	@tests/tools/compare $(BUILD)

bench-echo: examples  ## messages per second of the echo servers
	@tests/tools/bench-echo $(BUILD)

bench-http: $(BUILD)/examples/http/json_server  ## requests per second of json_server, beside nginx and aiohttp
	@tests/tools/bench-http $(BUILD)

bench-fib: $(addprefix $(BUILD)/,$(filter examples/fibservers/%,$(EXAMPLES)))  ## the table of the fib servers
	@tests/tools/bench-fib $(BUILD)

bench-deps:  ## installs the peers that make bench compares with
	@tests/tools/bench-deps

wc:  ## lines of code and lengths of functions, against the budgets
	@python3 tests/tools/wc.py

lint:  ## do includes point down? make lint FILE=mine.cpp: what g++ 12 compiles wrongly in a program of yours
	@$(if $(FILE),python3 tests/tools/lint_program.py $(FILE),python3 tests/tools/lint)

format:  ## clang-format over all sources
	@clang-format -i $$(git ls-files '*.hpp' '*.cpp')

export asyncio_pc asyncio_config asyncio_version
include_dir := $(DESTDIR)$(PREFIX)/include/asyncio-cpp
lib_dir     := $(DESTDIR)$(PREFIX)/lib

install: $(LIB)  ## headers, library, pkg-config file, CMake package: make install PREFIX=/usr/local DESTDIR=
	@for header in $(HEADERS); do install -D -m 644 $$header "$(include_dir)/$$header" || exit 1; done
	@install -d "$(lib_dir)/pkgconfig" "$(lib_dir)/cmake/asyncio"
	@install -m 644 $(LIB) "$(lib_dir)/libasyncio.a"
	@printf '%s\n' "$$asyncio_pc" >"$(lib_dir)/pkgconfig/asyncio.pc"
	@printf '%s\n' "$$asyncio_config" >"$(lib_dir)/cmake/asyncio/asyncioConfig.cmake"
	@printf '%s\n' "$$asyncio_version" >"$(lib_dir)/cmake/asyncio/asyncioConfigVersion.cmake"
	@echo 'installed in $(DESTDIR)$(PREFIX): g++ -std=c++20 mine.cpp $$(pkg-config --cflags --libs asyncio), or find_package(asyncio)'

uninstall:  ## takes away what make install put there: the same PREFIX and DESTDIR
	rm -rf "$(include_dir)" "$(lib_dir)/libasyncio.a" "$(lib_dir)/pkgconfig/asyncio.pc" "$(lib_dir)/cmake/asyncio"

# Both find the folder they are in, so that an installed tree can be moved.
define asyncio_pc
prefix=$${pcfiledir}/../..

Name: asyncio
Description: Python's asyncio in C++20, to be read
Version: $(VERSION)
Cflags: -I$${prefix}/include/asyncio-cpp -pthread
Libs: -L$${prefix}/lib -lasyncio -pthread
endef

define asyncio_config
include(CMakeFindDependencyMacro)
find_dependency(Threads)
if(NOT TARGET asyncio::asyncio)
  get_filename_component(asyncio_prefix "$${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
  add_library(asyncio::asyncio STATIC IMPORTED)
  set_target_properties(asyncio::asyncio PROPERTIES
    IMPORTED_LOCATION "$${asyncio_prefix}/lib/libasyncio.a"
    INTERFACE_INCLUDE_DIRECTORIES "$${asyncio_prefix}/include/asyncio-cpp"
    INTERFACE_COMPILE_FEATURES cxx_std_20
    INTERFACE_LINK_LIBRARIES Threads::Threads)
endif()
endef

define asyncio_version
set(PACKAGE_VERSION "$(VERSION)")
if(PACKAGE_VERSION VERSION_LESS PACKAGE_FIND_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
else()
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
  if(PACKAGE_VERSION VERSION_EQUAL PACKAGE_FIND_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
  endif()
endif()
endef

clean:  ## removes build/, but not what you wrote for make exercise
	@if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -name exercises -exec rm -rf {} +; fi

# Targets that belong to one folder stand there.
ROOM_RULES := $(wildcard examples/*/rules.mk tests/*/rules.mk)
include $(ROOM_RULES)

-include $(wildcard $(foreach depth,* */* */*/* */*/*/*,$(BUILD)/$(depth)/*.d))
