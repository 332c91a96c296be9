#include "loop/debug/instruments.hpp"

#include <algorithm>
#include <vector>

namespace asyncio {

/// The observer of a loop that has instruments. It passes every event on to them, and is destroyed when the last one is
/// removed.
class Instruments final : public LoopObserver {
 public:
  using Events = std::span<const selectors::SelectorEvent>;
  explicit Instruments(EventLoop& loop) noexcept : loop_(loop) {}
  ~Instruments() override {
    for (Instrument* each : instruments_) each->list_ = nullptr;
  }
  static Instruments* of(const EventLoop& loop) noexcept { return dynamic_cast<Instruments*>(loop.observer()); }

  void add(Instrument& instrument) {
    if (instrument.list_ == this) return;
    if (instrument.list_) throw ValueError("the instrument watches another loop");
    instruments_.push_back(&instrument);
    instrument.list_ = this;
  }
  static void remove(Instrument& instrument) noexcept {
    Instruments& list = *std::exchange(instrument.list_, nullptr);
    *std::ranges::find(list.instruments_, &instrument) = nullptr;
    if (!list.telling_) list.forget_removed();
  }
  static const Instruments* watching(const Instrument& instrument) noexcept { return instrument.list_; }

  void before_select(std::optional<double> timeout) override { tell(&LoopObserver::before_select, timeout); }
  void after_select(Events events) override { tell(&LoopObserver::after_select, events); }
  void handle_scheduled(const Handle& handle, const Handle& by) override {
    tell(&LoopObserver::handle_scheduled, handle, by);
  }
  void before_run(const Handle& handle) override { tell(&LoopObserver::before_run, handle); }
  void after_run(const Handle& handle) override { tell(&LoopObserver::after_run, handle); }
  void task_created(const AnyTask& task, const AnyTask& by) override { tell(&LoopObserver::task_created, task, by); }
  void task_step(const AnyTask& task) override { tell(&LoopObserver::task_step, task); }
  void task_waits(const AnyTask& task, const AnyFuture& on) override { tell(&LoopObserver::task_waits, task, on); }
  void task_woken(const AnyTask& task, const AnyFuture& by) override { tell(&LoopObserver::task_woken, task, by); }
  void task_done(const AnyTask& task) override { tell(&LoopObserver::task_done, task); }

 private:
  // An instrument may add and remove instruments here, also itself.
  template <class Event, class... Args> void tell(Event event, const Args&... args) noexcept {
    if (std::exchange(telling_, true)) return;
    for (std::size_t i = 0, n = instruments_.size(); i < n; ++i) {
      Instrument* instrument = instruments_[i];
      if (!instrument) continue;
      try {
        (instrument->*event)(args...);
      } catch (...) {
        remove_failed(instrument, i);
      }
    }
    telling_ = false;
    forget_removed();
  }
  void remove_failed(Instrument* instrument, std::size_t position) noexcept {
    if (instruments_[position] == instrument) remove(*instrument);
    // A KeyboardInterrupt or SystemExit of the exception handler must not interrupt what is being observed.
    const std::exception_ptr failed = caught_exception();
    raised_by([&] { loop_.report("Exception in an instrument, which was removed", {{}, failed, {}, {}}); });
  }
  void forget_removed() noexcept {
    std::erase(instruments_, nullptr);
    if (instruments_.empty()) loop_.set_observer(nullptr);  // destroys this object
  }

  EventLoop& loop_;
  std::vector<Instrument*> instruments_;  // null: removed while tell() was running
  bool telling_ = false;
};

Instrument::~Instrument() {
  if (list_) Instruments::remove(*this);
}

void AbstractEventLoop::add_instrument(Instrument& instrument) {
  if (self().is_closed()) throw RuntimeError("Event loop is closed");
  if (!self().observer()) self().set_observer(std::make_unique<Instruments>(self()));
  Instruments* list = Instruments::of(self());
  if (!list) throw RuntimeError("the loop has an observer that is no list of instruments");
  list->add(instrument);
}

void AbstractEventLoop::remove_instrument(Instrument& instrument) {
  const Instruments* list = Instruments::watching(instrument);
  if (!list || list != Instruments::of(self())) throw KeyError("the instrument does not watch this loop");
  Instruments::remove(instrument);
}

}  // namespace asyncio
