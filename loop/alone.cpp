// For the kernel without the rest of the library (make kernel): nothing is attached to a loop.
#include "loop/base_events.hpp"

namespace asyncio {

std::unique_ptr<LoopWorld> make_world(EventLoop&) { return nullptr; }

}  // namespace asyncio
