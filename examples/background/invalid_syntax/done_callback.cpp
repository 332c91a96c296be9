// A done callback is called with the future.
// error: a done callback is called with its future: f(Future<T>)
#include "asyncio.hpp"

void f(asyncio::Future<int> future) {
  future.add_done_callback([](std::string text) { static_cast<void>(text); });
}
