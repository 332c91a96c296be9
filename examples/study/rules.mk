# The loop at work, as a page: README.md in this folder. PROGRAM is a source file, with or without its .cpp.
RECORDER      := $(patsubst %,$(BUILD)/examples/study/%.o,record recorder watch virtual_clock)
STUDY_FINDINGS := $(basename $(wildcard examples/study/findings/*.cpp))

.PHONY: study study-test study-programs

ifneq ($(filter study,$(MAKECMDGOALS)),)
studied := $(patsubst %.cpp,%,$(PROGRAM)).cpp
$(if $(PROGRAM),,$(error make study: say which: make study PROGRAM=examples/04_task, or PROGRAM=mine.cpp ARGS='what it is given'))
$(if $(wildcard $(studied)),,$(error make study: there is no file $(studied)))
studied_name := $(basename $(notdir $(studied)))
ifneq ($(abspath $(studied)),$(abspath $(CURDIR)/$(studied)))
studied_object := $(BUILD)/study$(basename $(abspath $(studied))).o
$(studied_object): $(studied) $(BUILD)/compile.flags
	@mkdir -p $(@D)
	@$(compile) -O0 -Wno-error -c $< -o $@
else
studied_object := $(BUILD)/study/$(basename $(studied)).o
endif
endif

# Not optimised: then every event knows its line.
$(BUILD)/study/%.o: %.cpp $(BUILD)/compile.flags
	@mkdir -p $(@D)
	@$(compile) -O0 -Wno-error -c $< -o $@

$(BUILD)/study/%: $(BUILD)/study/%.o $(RECORDER) $(LIB) $(BUILD)/link.flags
	@$(link) $< $(RECORDER) $(LIB) -o $@

study: $(studied_object) $(RECORDER) $(LIB)  ## the loop at work, as a page to step through: make study PROGRAM=mine.cpp ARGS='…' VIRTUAL=1 PERFETTO=1
	@mkdir -p build/study
	@$(link) $< $(RECORDER) $(LIB) -o build/study/$(studied_name)
	@ASYNCIO_STUDY=build/study/$(studied_name).json $(if $(VIRTUAL),VIRTUAL=$(VIRTUAL)) build/study/$(studied_name) $(ARGS) || echo '(it ended with status '$$?')'
	@python3 examples/study/make_page.py build/study/$(studied_name).json --source $(studied) \
	    $(if $(PERFETTO),--perfetto build/study/$(studied_name).trace.json) -o build/study/$(studied_name).html

study-programs: $(addprefix $(BUILD)/study/,$(KERNEL_LADDER) $(filter examples/0% examples/1% examples/2%,$(EXAMPLES)) $(STUDY_FINDINGS))
