compare-under-load: N = 5
compare-under-load: examples  ## make compare on a busy machine, each run stopped at random points: N=5
	@tests/tools/compare_under_load $(BUILD) $(N)

.PHONY: compare-under-load
