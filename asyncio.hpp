// `import asyncio`: everything a program needs. The reading order is in README.md, the reader's book is
// NOTES.md.
#pragma once

#include "future/exceptions.hpp"
#include "future/futures.hpp"
#include "loop/base_events.hpp"
#include "loop/events.hpp"
#include "selectors/selectors.hpp"
#include "task/async_with.hpp"
#include "task/coroutines.hpp"
#include "task/graph.hpp"
#include "task/locks.hpp"
#include "task/queues.hpp"
#include "task/runners.hpp"
#include "task/taskgroups.hpp"
#include "task/tasks.hpp"
#include "task/timeouts.hpp"
#include "task/waiting.hpp"
