// Instruments, which watch what a loop does. Upstream has no counterpart; the idea is trio's Instrument.
#pragma once

#include "loop/base_events.hpp"

namespace asyncio {

class Instruments;

/// Derive from it, override the methods for the events of interest, and pass it to EventLoop::add_instrument. It is not
/// told of what it schedules itself. An instrument that throws is removed, and the exception handler gets the error.
/// Its destructor removes it.
struct Instrument : LoopObserver {
  Instrument() = default;
  Instrument(const Instrument&) = delete;
  Instrument& operator=(const Instrument&) = delete;
  ~Instrument() override;

 private:
  friend class Instruments;
  Instruments* list_ = nullptr;  // of the loop that it watches
};

}  // namespace asyncio
