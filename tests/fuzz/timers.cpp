// The timer heap: every timer that is not cancelled runs once, in the order of time, never early and never late.
#include <map>

#include "tests/fuzz/targets.hpp"
#include "tests/utils.hpp"

namespace fuzz {
namespace {

class Run {
 public:
  explicit Run(Bytes& input) : input_(input) {}

  void add() {
    const double when = loop_.time() + input_.below(16) * 0.25;
    const int number = next_++;
    expected_[number] = when;
    handles_.push_back(loop_.call_at(when, [this, number, when] { due(number, when); }));
  }
  void add_many() {  // so many that cancelling them lets the loop rebuild its heap
    for (int i = 0; i < 60; ++i) add();
  }
  void cancel() {
    if (handles_.empty()) return;
    const unsigned number = (input_.next() << 8 | input_.next()) % static_cast<unsigned>(handles_.size());
    handles_[number].cancel();
    expected_.erase(static_cast<int>(number));
  }
  void cancel_many() {
    for (unsigned n = input_.below(64); n > 0; --n) cancel();
  }
  // As long as the loop would wait by itself, or some more.
  void advance() {
    loop_.advance_time(input_.below(8) * 0.25);
    latest_ = 0;
    test::run_once(loop_, 2);
    for (const auto& [number, when] : expected_) require(when > loop_.time() - 0.2, "a timer is late");
  }
  void finish() {
    loop_.advance_time(1000);
    latest_ = 0;
    for (int i = 0; i < 100 && !expected_.empty(); ++i) {
      loop_.advance_time(10);
      test::run_once(loop_);
    }
    require(expected_.empty(), "a timer has never run");
  }

 private:
  void due(int number, double when) {
    require_late(expected_.erase(number) == 1, "a timer ran twice, or although it was cancelled");
    require_late(when <= loop_.time() + 1e-6, "a timer is early");
    require_late(when >= latest_, "timers run in the wrong order");
    latest_ = when;
    if (input_.below(4) == 0) cancel();
    if (next_ < 2000 && input_.below(4) == 1) add_later();
  }
  void add_later() {
    latest_ = 0;  // what is added here may be due before those that are queued already
    add();
  }
  // Inside of a callback the loop would take the exception.
  void require_late(bool holds, const char* what) {
    if (!holds) failed_ = what;
  }

  Bytes& input_;
  test::TestLoop loop_;
  std::map<int, double> expected_;
  std::vector<asyncio::TimerHandle> handles_;
  int next_ = 0;
  double latest_ = 0;

 public:
  std::string failed_;
};

}  // namespace

void timers(std::string_view input) {
  Bytes bytes(input);
  Run run(bytes);
  while (!bytes.empty()) {
    switch (bytes.below(8)) {
      case 0:
        run.advance();
        break;
      case 1:
        run.add_many();
        break;
      case 2:
        run.cancel_many();
        break;
      case 3:
        run.cancel();
        break;
      default:
        run.add();
    }
    require(run.failed_.empty(), run.failed_);
  }
  run.finish();
  require(run.failed_.empty(), run.failed_);
}

}  // namespace fuzz
