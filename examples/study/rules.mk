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
# The loop at work, as a page: README.md in this folder. PROGRAM is a source file, with or without its .cpp.
RECORDER := $(patsubst %,$(BUILD)/examples/study/%.o,record recorder watch virtual_clock)

.PHONY: study study-test

ifneq ($(filter study,$(MAKECMDGOALS)),)
studied := $(patsubst %.cpp,%,$(PROGRAM)).cpp
$(if $(PROGRAM),,$(error make study: say which: make study PROGRAM=examples/04_task, or PROGRAM=mine.cpp ARGS='what it is given'))
$(if $(wildcard $(studied)),,$(error make study: there is no file $(studied)))
studied_name := $(basename $(notdir $(studied)))
studied_object := $(BUILD)/study/one$(basename $(abspath $(studied))).o
$(studied_object): $(studied) $(BUILD)/compile.flags
	@mkdir -p $(@D)
	@$(compile) -O0 -Wno-error -c $< -o $@
-include $(studied_object:.o=.d)
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

study: $(studied_object) $(RECORDER) $(LIB)  ## the loop at work, as a page to step through: make study PROGRAM=mine.cpp ARGS='…' VIRTUAL=1 PERFETTO=1
	@mkdir -p build/study
	@$(link) $< $(RECORDER) $(LIB) -o build/study/$(studied_name)
	@ASYNCIO_STUDY=build/study/$(studied_name).json $(if $(VIRTUAL),VIRTUAL=$(VIRTUAL)) build/study/$(studied_name) $(ARGS) || echo '(it ended with status '$$?')'
	@python3 examples/study/make_page.py build/study/$(studied_name).json --source $(studied) \
	    $(if $(PERFETTO),--perfetto build/study/$(studied_name).trace.json) -o build/study/$(studied_name).html

STUDY_TESTED := $(addprefix examples/,01_call_soon 02_timers 03_future 04_task 05_sleep 06_cancel 07_pipe 09_gather_wait_group 10_timeouts \
    11_queue_workers 12_cancellation_rules 13_context 14_who_awaits_whom 15_pitfalls 16_tcp_echo_streams 17_protocol 19_threads 21_subprocess) \
    $(basename $(wildcard examples/study/findings/*.cpp)) examples/study/many_events examples/study/waits_for_signal

study-test: $(addprefix $(BUILD)/study/,$(STUDY_TESTED)) $(BUILD)/examples/study/recorded  ## the recorder on thirty programs, and their pages in a browser
	@python3 examples/study/test.py $(BUILD)/study build/study-test

# The interpreter of the little language with the recorder in it, for the playground's step view.
$(BUILD)/examples/study/recorded: $(call object,$(DIFFERENTIAL) examples/study/little.cpp) $(RECORDER) $(LIB) $(BUILD)/link.flags
	@$(link) $(filter-out %.flags,$^) -o $@
