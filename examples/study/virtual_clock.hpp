// VIRTUAL=1: the program runs on a clock that moves on at once when everything waits.
#pragma once

namespace study {

/// Whether VIRTUAL is set in the environment.
bool clock_is_virtual() noexcept;
/// The monotonic clock of the program, in seconds.
double now() noexcept;

}  // namespace study
