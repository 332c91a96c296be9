# What things cost. README.md in this folder says how each is measured.
BENCH       := $(BUILD)/tests/bench
BENCH_PEERS := asio asio_no_threads libuv libevent
BENCH_TOOL  := python3 tests/bench/bench.py --build $(BUILD)

.PHONY: bench bench-counts bench-counts-check bench-growth bench-peers

bench: $(BENCH)/ours $(BENCH)/limit $(BENCH)/load bench-peers  ## speed, against bare C++ and the peers that are installed: ROW=nested runs one
	@$(BENCH_TOOL) table --rows "$(subst nested,await,$(ROW))" --repetitions $(or $(REPETITIONS),5)

bench-counts: $(BENCH)/ours $(BENCH)/limit $(BENCH)/load bench-peers  ## instructions and system calls: UPDATE=1 writes ours down
	@$(BENCH_TOOL) counts --rows "$(subst nested,await,$(ROW))" $(if $(UPDATE),--update)

bench-counts-check: $(BENCH)/ours $(BENCH)/load
	@$(BENCH_TOOL) check

bench-growth: $(BENCH)/growth  ## how cost grows with the number of tasks, timers, waiters, descriptors
	@$(BENCH_TOOL) growth

$(BENCH)/limit $(BENCH)/load: $(BENCH)/%: $(BENCH)/%.o
	@$(link) $< -o $@

# A peer that is not installed is not built.
bench-peers: $(addprefix $(BENCH)/peers/,$(BENCH_PEERS))

$(BENCH)/peers/asio_no_threads: peer_flags = -DBOOST_ASIO_DISABLE_THREADS
$(BENCH)/peers/asio: peer_flags = -pthread
$(BENCH)/peers/libuv: peer_flags = -luv
$(BENCH)/peers/libevent: peer_flags = -levent
$(BENCH)/peers/%: FORCE tests/bench/bench.hpp
	@mkdir -p $(@D)
	@source=tests/bench/peers/$(subst _no_threads,,$*).cpp; \
	 if [ -x $@ ] && [ $@ -nt $$source ] && [ $@ -nt tests/bench/bench.hpp ]; then exit 0; fi; rm -f $@; \
	 $(CXX) -std=c++20 -O2 -I. $$source $(peer_flags) -o $@ 2>$@.log || echo '  without $*: make bench-deps installs it'
