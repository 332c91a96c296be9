T ?= 60

$(BUILD)/tests/soak/soak: $(BUILD)/tests/soak/soak.o $(LIB) $(BUILD)/link.flags
	@$(link) $< $(LIB) -o $@

.PHONY: soak
soak:  ## a random mix of everything, under sanitizers and valgrind: is memory flat? make soak T=1800
	@tests/soak/run $(T)
