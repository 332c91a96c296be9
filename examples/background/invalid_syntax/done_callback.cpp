// A done callback is called with the future.
// error: no matching function for call to 'invoke
#include "asyncio.hpp"

void f(asyncio::Future<int> future) {
  future.add_done_callback([](std::string text) { static_cast<void>(text); });
}
