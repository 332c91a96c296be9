# Every program of tests/faults meets every fault. The linker redirects the system calls to tests/faults/seam.cpp; the
# memory comes from its operator new. Under AddressSanitizer, so that a use after free or a leak is noticed.
FAULTS_SOURCES := $(wildcard tests/faults/*.cpp)
FAULTS_CALLS   := epoll_create1 epoll_ctl epoll_wait epoll_pwait2 ppoll pipe2 socket bind listen connect accept4 \
                  getsockname getpeername getsockopt setsockopt shutdown recv recvfrom send sendto sendfile read write \
                  close open fcntl fstat stat unlink sigaction fork waitpid syscall getaddrinfo freeaddrinfo \
                  posix_spawnp $(addprefix posix_spawn_file_actions_,init destroy adddup2 addclosefrom_np addchdir_np)
FAULTS         ?=# options: --sample 50 --only streams --fault epoll_ctl --verbose

.PHONY: faults
faults:  ## every n-th allocation and system call fails: does anything crash, hang, leak or get lost? FAULTS='--only streams'
	@$(MAKE) --no-print-directory SANITIZE=address,undefined OPT='-O0 -g1' BUILD=build/faults build/faults/tests/faults/faults
	@build/faults/tests/faults/faults $(FAULTS)

$(BUILD)/tests/faults/faults: $(call object,$(FAULTS_SOURCES)) $(LIB) $(BUILD)/link.flags
	@$(link) $(addprefix -Wl$(comma)--wrap=,$(FAULTS_CALLS)) $(filter-out %.flags,$^) -o $@
