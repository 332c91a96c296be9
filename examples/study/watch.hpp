// What one loop does, as events of the recording.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "examples/study/recorder.hpp"

namespace study {

/// An Instrument that numbers what it sees. It keeps addresses and never references, because a recorder must not change
/// how long things live; what an address stands for is forgotten when the object ends.
class Watch : public asyncio::Instrument {
 public:
  Watch(Recorder& recorder, asyncio::EventLoop& loop, int id) : recorder_(recorder), loop_(loop), id_(id) {}

  void before_select(std::optional<double> timeout) override;
  void after_select(std::span<const selectors::SelectorEvent> events) override;
  void handle_scheduled(const asyncio::Handle& handle, const asyncio::Handle& by) override;
  void before_run(const asyncio::Handle& handle) override;
  void after_run(const asyncio::Handle& handle) override;
  void task_created(const asyncio::AnyTask& task, const asyncio::AnyTask& by) override;
  void task_step(const asyncio::AnyTask& task) override;
  void task_waits(const asyncio::AnyTask& task, const asyncio::AnyFuture& on) override;
  void task_woken(const asyncio::AnyTask& task, const asyncio::AnyFuture& by) override;
  void task_done(const asyncio::AnyTask& task) override;

  int id() const noexcept { return id_; }
  int iteration() const noexcept { return iteration_; }
  /// Whether the loop runs in this thread.
  bool runs_here() const noexcept { return asyncio::get_running_loop_or_null() == &loop_; }
  /// The ready queue, the timers and the selector as text.
  std::string boxes() const;

 private:
  using State = asyncio::HandleState;
  struct Timer {
    double when;
    int id;
    const State* state;
    friend bool operator<(const Timer& a, const Timer& b) noexcept { return a.when < b.when; }
  };
  struct Descriptor {
    const State *reader = nullptr, *writer = nullptr;
    int reader_id = -1, writer_id = -1;
    int waiting = -1;  // bytes to read, when the selector reported it
  };
  struct KnownHandle {
    int id = -1;
    bool repeats = false;  // a task, a reader or a writer
    int queued = 0;        // how often it stands in the ready queue: that of a signal may do so more than once
  };
  struct Queued {
    int id = -1;
    const State* state = nullptr;
  };
  struct KnownFuture {
    int id = -1;
    bool done = false;  // what is waited for at this address from now on is another one
  };
  struct KnownTask {
    int id = -1;
    asyncio::TaskState* state = nullptr;
    int cancelling = 0;
  };

  void event(const char* kind, const std::string& arguments, const std::string& text, int place = -1) {
    recorder_.event(kind, *this, arguments, text, place);
  }
  int new_handle(const State* state, const char* kind, const std::string& label, int task = -1, int place = -1);
  int handle_of(const State* state, const char* kind, int place);
  int known_handle(const State* state) const;
  void enqueue(int id, const State* state);
  Queued dequeue();
  void skip();
  KnownFuture& future_of(const asyncio::AnyTask& task, const asyncio::AnyFuture& future);
  KnownTask& known(const asyncio::AnyTask& task);
  const std::string& label(int handle) const { return labels_.at(handle); }
  std::string by_whom(int handle) const { return handle < 0 ? "" : "  by " + label(handle); }

  // Of these changes the loop does not tell. They are found by comparing what is known with what is there.
  void find_due_timers();
  void find_dropped_timers();
  void find_cancelled_timers();
  void find_skipped();
  void find_descriptors();
  void find_descriptor(int fd, const State* reader, const State* writer);
  void find_cancellations();
  void find_cancellation(KnownTask& task);
  void find_unread(const State* state);

  Recorder& recorder_;
  asyncio::EventLoop& loop_;
  int id_, iteration_ = 0;
  bool due_timers_are_known_ = true, in_select_ = false;
  std::deque<Queued> ready_;
  Queued running_;
  std::vector<Timer> timers_;  // a heap, item by item the loop's
  std::unordered_set<int> cancelled_timers_;
  std::map<int, Descriptor> descriptors_;
  std::unordered_map<const State*, KnownHandle> handles_;
  std::unordered_map<const asyncio::FutureState*, KnownTask> tasks_;
  std::unordered_map<const asyncio::FutureState*, KnownFuture> futures_;
  std::map<int, std::string> labels_;  // of handles
};

}  // namespace study
