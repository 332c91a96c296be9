upstream_python = $(or $(PYTHON),$(shell tests/tools/differential python 2>/dev/null),python3)

# Recorded for side-by-side, which links each function to an event in which it is at work: of the ladder, and of the
# playground. RUNS= leaves them out.
RUNS = 01_call_soon 09_gather_wait_group 11_queue_workers 15_pitfalls 16_tcp_echo_streams 18_udp 19_threads 21_subprocess \
    22_lock_is_fair 31_semaphore_and_cancel 32_barrier
RUN_PAGES = $(patsubst %,build/study/%.html,$(RUNS))
LITTLE_PAGES := $(patsubst examples/study/playground/%.txt,build/study/%.html,$(wildcard examples/study/playground/*.txt))

.PHONY: side-by-side
side-by-side: $(if $(FN),,$(RUN_PAGES))  ## each function beside upstream's and in a recorded run, as a page; FN=run_once: one of them, here
	@$(upstream_python) examples/study/side_by_side.py $(if $(FN),--fn $(FN),build/side-by-side.html)

.PHONY: playground
PLAYGROUND = $(BUILD)/examples/study/playground $(BUILD)/tests/differential/differential $(BUILD)/examples/study/recorded
playground: $(PLAYGROUND)  ## a page to try the little language of tests/differential, here and on CPython: PORT=8090
	@$(PLAYGROUND) $(or $(PYTHON),$(shell tests/tools/differential python 2>/dev/null),-) $(or $(PORT),0)
# The loop at work, as a page: README.md in this folder. PROGRAM is a source file; without its .cpp or .py it is the
# C++ one, if there is one.
RECORDER := $(patsubst %,$(BUILD)/examples/study/%.o,record recorder watch tasks program virtual_clock)

.PHONY: study study-test study-python

ifneq ($(filter study,$(MAKECMDGOALS)),)
$(if $(PROGRAM),,$(error make study: say which: make study PROGRAM=examples/04_task, or PROGRAM=mine.cpp or mine.py, ARGS='what it is given'))
studied := $(or $(filter %.py,$(PROGRAM)),$(wildcard $(PROGRAM:.cpp=).cpp),$(wildcard $(PROGRAM).py),$(PROGRAM:.cpp=).cpp)
$(if $(wildcard $(studied)),,$(error make study: there is no file $(studied)))
studied_name := $(basename $(notdir $(studied)))
endif

# Not optimised: then every event knows its line.
$(BUILD)/study/%.o: %.cpp $(BUILD)/compile.flags
	@mkdir -p $(@D)
	@$(compile) -O0 -Wno-error -c $< -o $@

$(BUILD)/study/%: $(BUILD)/study/%.o $(RECORDER) $(LIB) $(BUILD)/link.flags
	@$(link) $< $(RECORDER) $(LIB) -o $@

$(filter-out $(LITTLE_PAGES),$(RUN_PAGES)): build/study/%.html: $(BUILD)/study/examples/%
	@mkdir -p $(@D)
	@echo '  records examples/$*'
	@VIRTUAL=1 ASYNCIO_STUDY=build/study/$*.json $< >build/study/$*.txt 2>&1 </dev/null || { cat build/study/$*.txt; exit 1; }
	@python3 examples/study/make_page.py build/study/$*.json --source examples/$*.cpp -o $@ >/dev/null

$(filter $(LITTLE_PAGES),$(RUN_PAGES)): build/study/%.html: examples/study/playground/%.txt $(BUILD)/examples/study/recorded
	@mkdir -p $(@D)
	@echo '  records $<'
	@examples/study/step_view $(BUILD)/examples/study/recorded <$< >$@

# Runs the program, and makes the page, however it ends; Ctrl-C ends the program only. $(call recorded,command,name)
define recorded
@trap : INT; rm -f build/study/$(2).json; \
ASYNCIO_STUDY=build/study/$(2).json $(if $(VIRTUAL),VIRTUAL=$(VIRTUAL)) $(1) $(ARGS) || echo '(it ended with status '$$?')'; \
python3 examples/study/make_page.py build/study/$(2).json --source $(studied) \
    $(if $(PERFETTO),--perfetto build/study/$(2).trace.json) -o build/study/$(2).html
endef

study:  ## the loop at work, as a page to step through: make study PROGRAM=mine.cpp, or mine.py, ARGS='…' VIRTUAL=1 PERFETTO=1
ifneq ($(filter %.py,$(studied)),)
study: study-python
	$(call recorded,build/study/python/run $(studied),$(studied_name).py)
else
studied_object := $(BUILD)/study/one$(basename $(abspath $(studied))).o
$(studied_object): $(studied) $(BUILD)/compile.flags
	@mkdir -p $(@D)
	@$(compile) -O0 -Wno-error -c $< -o $@
-include $(studied_object:.o=.d)
study: $(studied_object) $(RECORDER) $(LIB)
	@mkdir -p build/study
	@$(link) $< $(RECORDER) $(LIB) -o build/study/$(studied_name)
	$(call recorded,build/study/$(studied_name),$(studied_name))
endif

# Of a Python program: the module of examples/python, with the recorder linked into it.
STUDY_PYTHON := $(patsubst %,examples/study/%,record.cpp recorder.cpp watch.cpp python/program.cpp python/recorded.py python/run)
study-python: build/study/python/virtual_clock.so  ## build/study/python/run script.py, with ASYNCIO_STUDY: what make study runs Python programs with
	@PYTHON='$(PYTHON)' examples/python/find_python >/dev/null || exit 1
	@$(MAKE) --no-print-directory python PYTHON_INTO=build/study/python PYTHON_EXTRA='$(STUDY_PYTHON)'

build/study/python/virtual_clock.so: examples/study/virtual_clock.cpp $(BUILD)/compile.flags
	@mkdir -p $(@D)
	@$(compile) -fPIC -shared $< -o $@

STUDY_TESTED := $(addprefix examples/,01_call_soon 02_timers 03_future 04_task 05_sleep 06_cancel 07_pipe 09_gather_wait_group 10_timeouts \
    11_queue_workers 12_cancellation_rules 13_context 14_who_awaits_whom 15_pitfalls 16_tcp_echo_streams 17_protocol 19_threads 21_subprocess) \
    $(basename $(wildcard examples/study/findings/*.cpp)) examples/study/many_events examples/study/waits_for_signal

study-test: $(addprefix $(BUILD)/study/,$(STUDY_TESTED)) $(BUILD)/examples/study/recorded  ## the recorder on fifty programs, in C++ and in Python, and their pages in a browser
	@! python=$$(PYTHON='$(PYTHON)' examples/python/find_python 2>/dev/null) || $(MAKE) -s --no-print-directory study-python
	@python=$$(PYTHON='$(PYTHON)' examples/python/find_python 2>/dev/null); \
	    python3 examples/study/test.py $(BUILD)/study build/study-test "$${python:+build/study/python/run,$$python}"

# The interpreter of the little language with the recorder in it, for the playground's step view.
$(BUILD)/examples/study/recorded: $(call object,$(DIFFERENTIAL) examples/study/little.cpp) $(RECORDER) $(LIB) $(BUILD)/link.flags
	@$(link) $(filter-out %.flags,$^) -o $@
