// The arguments are checked where the callback is scheduled: Python finds out when it is called, and by whom is no
// longer known.
// error: this callback cannot be called with these arguments: they are stored by value and passed as lvalues
#include <string>

#include "asyncio.hpp"

void greet(std::string name, int times);

void f(asyncio::EventLoop& loop) { loop.call_soon(greet, "world"); }
