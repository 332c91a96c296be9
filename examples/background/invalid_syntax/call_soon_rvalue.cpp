// What is stored belongs to the handle, and the callback gets to see it: it cannot take it away.
// error: this callback cannot be called with these arguments: they are stored by value and passed as lvalues
#include <string>

#include "asyncio.hpp"

void take(std::string&& name);

void f(asyncio::EventLoop& loop) { loop.call_later(0.1, take, std::string("world")); }
