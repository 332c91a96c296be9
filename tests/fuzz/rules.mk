# Fuzzing needs clang and its libFuzzer; the same targets are part of the tests, which replay the corpora.
FUZZ_SOURCES := $(filter-out tests/fuzz/fuzzer.cpp,$(wildcard tests/fuzz/*.cpp))
FUZZ_CXX     ?= $(firstword $(shell command -v clang++-16 clang++-19 clang++))
T            ?= 60

$(BUILD)/tests/run: $(call object,$(FUZZ_SOURCES))

$(BUILD)/tests/fuzz/fuzzer: $(call object,$(FUZZ_SOURCES) tests/fuzz/fuzzer.cpp $(INTERPRETER)) $(LIB) $(BUILD)/link.flags
	@$(link:fuzzer-no-link=fuzzer) $(filter-out %.flags,$^) -o $@

.PHONY: fuzz
fuzz:  ## coverage-guided fuzzing of streams, timers, queues and parsers against models: make fuzz T=60
	@tests/fuzz/run '$(FUZZ_CXX)' $(T)
