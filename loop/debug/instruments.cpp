#include "loop/debug/instruments.hpp"

#include <algorithm>

namespace asyncio {

Instrument::~Instrument() {
  if (watched_ && watched_->loop) watched_->loop->remove_instrument(*this);
}

void EventLoop::add_instrument(Instrument& instrument) {
  check_closed();
  if (instrument.watched_ == anchor_) return;
  if (instrument.watched_ && instrument.watched_->loop) throw ValueError("the instrument watches another loop");
  instrument.watched_ = anchor_;
  instruments_.push_back(&instrument);
}

void EventLoop::remove_instrument(Instrument& instrument) {
  if (std::erase(instruments_, &instrument) == 0) throw KeyError("the instrument does not watch this loop");
  instrument.watched_ = nullptr;
}

void EventLoop::tell_each(const std::function<void(Instrument&)>& event) noexcept {
  if (std::exchange(telling_, true)) return;
  const Finally told([this] { telling_ = false; });
  for (Instrument* instrument : std::vector(instruments_)) {  // which they may change
    if (std::ranges::find(instruments_, instrument) == instruments_.end()) continue;
    try {
      event(*instrument);
    } catch (...) {
      remove_failed(*instrument, std::current_exception());
    }
  }
}

void EventLoop::tell_scheduled(const Ref<HandleState>& handle) noexcept {
  tell_each(
      [&](Instrument& instrument) { instrument.handle_scheduled(Handle(handle), Handle(Ref<HandleState>(running_))); });
}

void EventLoop::remove_failed(Instrument& instrument, std::exception_ptr error) noexcept {
  std::erase(instruments_, &instrument);
  instrument.watched_ = nullptr;
  try {
    call_exception_handler({"Exception in an instrument, which was removed", std::move(error), {}, {}});
  } catch (...) {
    // KeyboardInterrupt or SystemExit of a handler: what is being told of must go on.
  }
}

}  // namespace asyncio
