.PHONY: coverage
coverage: catch2  ## lines and branches of the library that the tests reach
	@tests/coverage/run
