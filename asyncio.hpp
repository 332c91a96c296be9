// `import asyncio`: everything a program needs. README.md has the reading order; NOTES.md explains each function.
#pragma once

#include "future/exceptions.hpp"
#include "future/futures.hpp"
#include "loop/base_events.hpp"
#include "selectors/selectors.hpp"
#include "task/coroutines.hpp"
#include "task/runners.hpp"
#include "task/tasks.hpp"

// With ASYNCIO_KERNEL defined, only the above: what libasyncio-kernel.a contains (make kernel).
#ifndef ASYNCIO_KERNEL
#include "loop/debug/instruments.hpp"
#include "loop/io/protocols.hpp"
#include "loop/io/selector_transports.hpp"
#include "loop/io/transports.hpp"
#include "loop/python/executors.hpp"
#include "loop/python/sockets.hpp"
#include "task/debug/graph.hpp"
#include "task/debug/stacks.hpp"
#include "task/io/servers.hpp"
#include "task/io/streams.hpp"
#include "task/io/subprocess.hpp"
#include "task/io/threads.hpp"
#include "task/sync/async_with.hpp"
#include "task/sync/locks.hpp"
#include "task/sync/queues.hpp"
#include "task/sync/taskgroups.hpp"
#include "task/sync/timeouts.hpp"
#include "task/sync/waiting.hpp"
#endif
