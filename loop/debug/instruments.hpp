// Who watches a loop at work. Upstream has no counterpart; the idea is trio's Instrument.
#pragma once

#include "loop/base_events.hpp"

namespace asyncio {

class Instruments;

/// Derive from it, override what you want to hear of, and give it to EventLoop::add_instrument. What it schedules itself it
/// is not told of. One that throws is removed, and the error goes to the exception handler. Destroying it removes it.
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
