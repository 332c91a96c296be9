// A future keeps its value; a reference it could only keep by the address, and nobody would know for how long.
// error: a Future holds a value: use std::reference_wrapper or a pointer
#include "asyncio.hpp"

void f(asyncio::Future<int&> future) { future.cancel(); }
