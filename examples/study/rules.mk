PYTHON ?=
upstream_python = $(or $(PYTHON),$(shell tests/tools/differential python 2>/dev/null),python3)

.PHONY: side-by-side
side-by-side:  ## each function beside upstream's, as a page; FN=run_once: one of them, here
	@$(upstream_python) examples/study/side_by_side.py $(if $(FN),--fn $(FN),build/side-by-side.html)

.PHONY: playground
PLAYGROUND = $(BUILD)/examples/study/playground $(BUILD)/tests/differential/differential
playground: $(PLAYGROUND)  ## a page to try the little language of tests/differential, here and on CPython: PORT=8090
	@$(PLAYGROUND) $(or $(PYTHON),$(shell tests/tools/differential python 2>/dev/null),-) $(or $(PORT),0)
