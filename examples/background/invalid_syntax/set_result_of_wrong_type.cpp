// A Future<int> gets an int.
// error, g++: no matching function for call to 'asyncio::Future<int>::set_result(const char [9])'
// error, clang++: no matching member function for call to 'set_result'
#include "asyncio.hpp"

void f(asyncio::Future<int> future) { future.set_result("a string"); }
