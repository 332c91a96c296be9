# CPython on this kernel. PYTHON=... names the interpreter; each has a module of its own in build/python/cpploop.
PYTHON_BUILD   := build/python$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))
# PYTHON_EXTRA=... is what is to be added: sources to link into the module, such as an instrument in C++ that adds itself to
# every loop; Python files; another script `run`. That module goes into the folder PYTHON_INTO=...
PYTHON_INTO    ?= $(PYTHON_BUILD)
PYTHON_SOURCES := $(wildcard examples/python/src/*.cpp) loop/debug/instruments.cpp $(filter-out loop/alone.cpp,$(KERNEL_SOURCES)) \
                  $(filter %.cpp,$(PYTHON_EXTRA))
PYTHON_RUN     := $(lastword examples/python/run $(filter %/run,$(PYTHON_EXTRA)))
PYTHON_FILES   := $(wildcard examples/python/cpploop/*.py) $(filter %.py,$(PYTHON_EXTRA))
python_objects  = $(PYTHON_BUILD)/$(python_tag)/$(patsubst %.cpp,%.o,$(1))

# Only for the targets of this folder: others need no Python.
ifneq ($(filter python python-% upstream-tests,$(MAKECMDGOALS)),)
python     := $(shell PYTHON='$(PYTHON)' examples/python/find_python)
$(if $(python),,$(error make $(MAKECMDGOALS): no Python to build for))
python_tag := $(shell $(python) -c 'import sys; print(sys.implementation.cache_tag + sys.abiflags)')
python_inc := $(shell $(python) -c 'import sysconfig; print(sysconfig.get_path("include"))')
python_ext := $(PYTHON_INTO)/cpploop/_kernel$(shell $(python) -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
# An interpreter that is not sanitized needs the sanitizer's library before all others, and no allocator of its own.
python_asan := $(if $(findstring address,$(SANITIZE)),LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
                 ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc)
endif

.PHONY: python python-test python-bench upstream-tests

python: $(python_ext)  ## CPython on this kernel: build/python/run script.py runs a Python program
	@echo '$(python)' >$(PYTHON_INTO)/python

$(python_ext): $(foreach source,$(PYTHON_SOURCES),$(call python_objects,$(source))) $(PYTHON_FILES) $(PYTHON_RUN)
	@mkdir -p $(@D)
	@$(link) -shared $(filter %.o,$^) -o $@
	@cp $(PYTHON_FILES) $(@D) && cp $(PYTHON_RUN) $(PYTHON_INTO)

# MODULES='tasks locks' chooses some.
upstream-tests: python  ## CPython's own tests of asyncio, on the stock loop and on this kernel
	@$(python_asan) PYTHON_BUILD=$(PYTHON_BUILD) $(python) examples/python/tests/upstream_tests.py $(MODULES)

python-test: python  ## the tests of that module, real programs among them
	@$(python_asan) PYTHONPATH=$(PYTHON_BUILD) $(python) -m unittest discover -s examples/python/tests -t examples/python/tests

python-bench: python  ## what a callback costs on it, on the stock loop and on uvloop
	@PYTHONPATH=$(PYTHON_BUILD) $(python) examples/python/tests/bench.py

$(PYTHON_BUILD)/$(python_tag)/%.o: %.cpp $(BUILD)/compile.flags
	@mkdir -p $(@D)
	@echo '  $(compiler) $< ($(python_tag))'
	@$(compile) -fPIC -fvisibility=hidden -isystem $(python_inc) -c $< -o $@

-include $(foreach source,$(PYTHON_SOURCES),$(patsubst %.o,%.d,$(call python_objects,$(source))))
