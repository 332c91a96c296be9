$(BUILD)/tests/hostile/hostile: $(BUILD)/tests/hostile/hostile.o $(LIB) $(BUILD)/link.flags
	@$(link) $< $(LIB) -o $@

.PHONY: hostile hostile-short
hostile: $(BUILD)/tests/hostile/hostile  ## silent and slow clients, resets, no descriptors, 10 kHz of signals: are the others served?
	@$(abspath $<)

hostile-short: $(BUILD)/tests/hostile/hostile
	@$(abspath $<) short
