// Which sanitizer this is compiled with. g++ defines a macro, clang++ has a feature.
#pragma once

namespace test {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool TSAN = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool TSAN = true;
#else
inline constexpr bool TSAN = false;
#endif
#else
inline constexpr bool TSAN = false;
#endif
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool ASAN = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool ASAN = true;
#else
inline constexpr bool ASAN = false;
#endif
#else
inline constexpr bool ASAN = false;
#endif

}  // namespace test
