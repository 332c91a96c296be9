// What one loop does, as events of the recording.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "examples/study/recorder.hpp"
#include "loop/debug/instruments.hpp"

namespace study {

/// An Instrument that numbers what it sees. It keeps addresses and never references, because a recorder must not change
/// how long things live; what an address stands for is forgotten when the object ends. Of the loop it knows all, of tasks
/// nothing: they differ between C++ and Python, and are left to a class derived from it.
class Watch : public asyncio::Instrument {
 public:
  Watch(Recorder& recorder, asyncio::EventLoop& loop, int id) : recorder_(recorder), loop_(loop), id_(id) {}

  void before_select(std::optional<double> timeout) override;
  void after_select(std::span<const selectors::SelectorEvent> events) override;
  void handle_scheduled(const asyncio::Handle& handle, const asyncio::Handle& by) override;
  void before_run(const asyncio::Handle& handle) override;
  void after_run(const asyncio::Handle& handle) override;

  int id() const noexcept { return id_; }
  int iteration() const noexcept { return iteration_; }
  /// Whether the loop runs in this thread.
  bool runs_here() const noexcept { return asyncio::get_running_loop_or_null() == &loop_; }
  /// The ready queue, the timers and the selector as text.
  std::string boxes() const;

  void event(const char* kind, const std::string& arguments, const std::string& text, int place = -1) {
    recorder_.event(kind, *this, arguments, text, place);
  }
  /// A new entry of the table "handles".
  int add_handle(const char* kind, const std::string& label, int task, int place);
  void set_label(int handle, const std::string& label) { labels_[handle] = label; }

 protected:
  using State = asyncio::HandleState;

  /// What a handle calls that is no step of a task.
  virtual std::string name_of(const State& state) const = 0;
  /// Is told of each handle before it is scheduled. If the handle is the next step of a task, returns the number that
  /// these handles have in the recording; -1 otherwise.
  virtual int step_scheduled(const asyncio::Handle& handle) = 0;
  /// The number of the task that runs; -1: none.
  virtual int current_task() = 0;
  /// Tells of each task whose cancelling() has changed. If there are more tasks than `limit`, it need not look.
  virtual void find_cancellations(std::size_t limit) = 0;

  Recorder& recorder_;
  asyncio::EventLoop& loop_;

 private:
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
    bool repeats = false;  // a reader or a writer
    int queued = 0;        // how often it stands in the ready queue: that of a signal may do so more than once
  };
  struct Queued {
    int id = -1;
    const State* state = nullptr;
  };

  int add_repeating_handle(const State* state, const char* kind, const std::string& label);
  int handle_of(const asyncio::Handle& handle, const char* kind, int place, bool by_selector);
  int known_handle(const State* state) const;
  void enqueue(int id, const State* state);
  Queued dequeue();
  void skip();
  const std::string& label(int handle) const { return labels_.at(handle); }
  std::string by_whom(int handle) const { return handle < 0 ? "" : "  by " + label(handle); }

  // Of these changes the loop does not tell. They are found by comparing what is known with what is there.
  void find_due_timers();
  void find_dropped_timers();
  void find_cancelled_timers();
  void find_skipped();
  void find_descriptors();
  void find_descriptor(int fd, const State* reader, const State* writer);
  void find_unread(const State* state);

  int id_, iteration_ = 0;
  bool due_timers_are_known_ = true, in_select_ = false;
  std::deque<Queued> ready_;
  Queued running_;
  std::vector<Timer> timers_;  // a heap, item by item the loop's
  std::unordered_set<int> cancelled_timers_;
  std::map<int, Descriptor> descriptors_;
  std::unordered_map<const State*, KnownHandle> handles_;
  std::map<int, std::string> labels_;  // of handles
};

}  // namespace study
