.PHONY: modes
modes:  ## other compilers and flags: g++ -O0 to -O3, checked containers, clang 16 and 19, libc++, without epoll
	@tests/modes/run
