// Catch2 v2 makes its main() here; v3 brings it along.
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_MAIN
#endif
#include "tests/catch.hpp"

// The owners of an exception are counted in libstdc++, where ThreadSanitizer does not look: that the last of two threads
// frees it, and only after the other one has let go, is not seen.
extern "C" const char* __tsan_default_suppressions();
const char* __tsan_default_suppressions() {
  return "race:std::__exception_ptr::exception_ptr::_M_release\n"
         "race:std::logic_error::~logic_error\n"
         "race:std::runtime_error::~runtime_error\n";
}
