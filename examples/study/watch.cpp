#include "examples/study/watch.hpp"

#include <sys/ioctl.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>

#include "loop/python/heapq.hpp"

namespace study {
namespace {

using asyncio::Handle;

// More of something than this is looked through once per iteration, instead of after each callback.
constexpr std::size_t MANY = 256;

std::string seconds(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6f", value);
  std::string number = text;
  number.erase(number.find_last_not_of('0') + 1);
  return number.ends_with('.') ? number + "0" : number;
}

int bytes_waiting(int fd) {
  int n = 0;
  return ::ioctl(fd, FIONREAD, &n) == 0 ? n : -1;
}

std::string interest(unsigned events) {
  return std::string(events & selectors::EVENT_READ ? "r" : "") + (events & selectors::EVENT_WRITE ? "w" : "");
}

}  // namespace

int Watch::add_handle(const char* kind, const std::string& label, int task, int place) {
  const int id = recorder_.record.add("handles", "[" + array(quote(kind), quote(label), task, place) + "]");
  labels_[id] = task < 0 ? label + "@" + std::to_string(id) : label;
  return id;
}

int Watch::add_repeating_handle(const State* state, const char* kind, const std::string& label) {
  const int id = add_handle(kind, label, -1, -1);
  handles_[state] = {id, true};
  return id;
}

int Watch::known_handle(const State* state) const {
  const auto found = handles_.find(state);
  return found == handles_.end() ? -1 : found->second.id;
}

void Watch::enqueue(int id, const State* state) {
  ready_.push_back({id, state});
  ++handles_[state].queued;
}

Watch::Queued Watch::dequeue() {
  const Queued first = ready_.front();
  ready_.pop_front();
  const auto found = handles_.find(first.state);
  if (found == handles_.end() || found->second.id != first.id) return first;
  if (--found->second.queued == 0 && !found->second.repeats) handles_.erase(found);
  return first;
}

void Watch::skip() {
  const Queued first = dequeue();
  event("skip", array(first.id), label(first.id) + ", which was cancelled");
}

// A step of a task has the task's number, the callback of a descriptor that of the descriptor. Anything else is new. By
// the time that somebody else than the selector schedules what seems to be a reader, its descriptor is not watched any
// more, and the address is another handle's.
int Watch::handle_of(const Handle& handle, const char* kind, int place, bool by_selector) {
  const State* state = handle.state();
  const int step = step_scheduled(handle);
  KnownHandle& known = handles_[state];
  if (step >= 0 && known.id != step) known = {step};
  if (step >= 0 || known.queued > 0 || (known.repeats && by_selector)) return known.id;
  known = {add_handle(kind, name_of(*state), -1, place)};
  return known.id;
}

void Watch::before_select(std::optional<double> timeout) {
  const std::lock_guard lock(recorder_.mutex);
  due_timers_are_known_ = true;  // no callback has run: none was due
  find_skipped();
  find_cancellations(SIZE_MAX);
  find_cancelled_timers();
  find_dropped_timers();
  find_descriptors();
  if (iteration_ > 0) recorder_.iteration_ended(*this);
  ++iteration_;
  in_select_ = true;
  event("select", timeout ? seconds(*timeout) : "null", timeout ? seconds(*timeout) : "for ever");
}

void Watch::after_select(std::span<const selectors::SelectorEvent> events) {
  const std::lock_guard lock(recorder_.mutex);
  std::string json, text;
  for (const auto& [key, mask] : events) {
    descriptors_[key.fd].waiting = mask & selectors::EVENT_READ ? bytes_waiting(key.fd) : -1;
    json += (json.empty() ? "[" : ",[") + array(key.fd, mask, descriptors_[key.fd].waiting) + "]";
    text += " fd " + std::to_string(key.fd) + " " + interest(mask);
  }
  event("woke", "[" + json + "]", text.empty() ? "nothing" : text.substr(1));
  due_timers_are_known_ = false;
}

void Watch::handle_scheduled(const Handle& handle, const Handle& by) {
  const std::lock_guard lock(recorder_.mutex);
  const State* state = handle.state();
  const auto* timer = dynamic_cast<const asyncio::TimerHandleState*>(state);
  const int scheduler = by ? running_.id : -1;
  const bool by_selector = in_select_ && !by;
  const int place = by_selector ? -1 : recorder_.place();
  const int id = handle_of(handle, timer ? "timer" : "callback", place, by_selector);
  if (!timer) {
    enqueue(id, state);
    return event("soon", array(id, scheduler), label(id) + by_whom(scheduler), place);
  }
  const double delay = timer->when() - loop_.time();
  asyncio::heappush(timers_, Timer{timer->when(), id, state});
  event("timer", array(id, scheduler, seconds(delay), seconds(timer->when())),
        label(id) + " in " + seconds(delay) + " s" + by_whom(scheduler), place);
}

void Watch::before_run(const Handle& handle) {
  const std::lock_guard lock(recorder_.mutex);
  find_due_timers();
  in_select_ = false;
  const State* state = handle.state();
  while (!ready_.empty() && ready_.front().state != state) skip();
  running_ = ready_.empty() ? Queued{handle_of(handle, "callback", -1, true), state} : dequeue();
  event("run", array(running_.id), label(running_.id));
}

void Watch::after_run(const Handle& handle) {
  const std::lock_guard lock(recorder_.mutex);
  find_unread(handle.state());
  find_cancellations(MANY);
  if (timers_.size() <= MANY) find_cancelled_timers();
  if (descriptors_.size() <= MANY) find_descriptors();
  event("ran", array(running_.id), label(running_.id));
  running_ = {};
}

// Between the selector and the first callback, timers leave the heap for the ready queue only.
void Watch::find_due_timers() {
  if (std::exchange(due_timers_are_known_, true)) return;
  const std::size_t left = std::get<1>(loop_.inspect()).size();
  while (timers_.size() > left) {
    const Timer timer = asyncio::heappop(timers_);
    enqueue(timer.id, timer.state);
    event("due", array(timer.id), label(timer.id));
  }
}

void Watch::find_dropped_timers() {
  const auto& [ready, scheduled, io] = loop_.inspect();
  while (timers_.size() > scheduled.size() &&
         (scheduled.empty() || timers_.front().state != scheduled.front().handle.get())) {
    const Timer timer = asyncio::heappop(timers_);
    event("drop", array(timer.id), label(timer.id) + ", which was cancelled");
  }
  if (timers_.size() == scheduled.size()) return;
  timers_.clear();  // the loop has compacted its heap
  std::string json;
  for (const auto& [when, handle] : scheduled) {
    timers_.push_back({when, known_handle(handle.get()), handle.get()});
    json += (json.empty() ? "" : ",") + std::to_string(timers_.back().id);
  }
  event("heap", "[" + json + "]", "the cancelled timers are removed");
}

void Watch::find_cancelled_timers() {
  const auto& [ready, scheduled, io] = loop_.inspect();
  for (const auto& [when, handle] : scheduled) {
    const int id = known_handle(handle.get());
    if (handle->cancelled() && cancelled_timers_.insert(id).second) event("cancel", array(id), label(id));
  }
}

// Between two iterations nothing is left in the loop's queue but what will run.
void Watch::find_skipped() {
  const std::size_t left = std::get<0>(loop_.inspect()).size();
  while (ready_.size() > left) skip();
}

void Watch::find_descriptors() {
  const auto& io = std::get<2>(loop_.inspect());
  for (const auto& [fd, handles] : io) find_descriptor(fd, handles.reader.get(), handles.writer.get());
}

void Watch::find_descriptor(int fd, const State* reader, const State* writer) {
  Descriptor& known = descriptors_[fd];
  if (known.reader == reader && known.writer == writer) return;
  const bool own = loop_.inbox() && fd == loop_.inbox()->read_end();
  const auto name = [&](const State* state) { return own ? "self-pipe" : name_of(*state); };
  for (const State* gone : {known.reader, known.writer}) {
    if (gone && gone != reader && gone != writer) handles_.erase(gone);
  }
  if (known.reader != reader) known.reader_id = reader ? add_repeating_handle(reader, "reader", name(reader)) : -1;
  if (known.writer != writer) known.writer_id = writer ? add_repeating_handle(writer, "writer", name(writer)) : -1;
  known.reader = reader, known.writer = writer;
  event("fd", array(fd, known.reader_id, known.writer_id, current_task()),
        std::to_string(fd) + (reader ? " reader " + label(known.reader_id) : "") +
            (writer ? " writer " + label(known.writer_id) : "") + (reader || writer ? "" : " gone"));
}

// The reader has run, and has read nothing.
void Watch::find_unread(const State* state) {
  for (const auto& [fd, known] : descriptors_) {
    if (known.reader != state || known.waiting < 0) continue;
    const int left = bytes_waiting(fd);
    if (left >= known.waiting)
      event("unread", array(fd, left), "fd " + std::to_string(fd) + ": " + std::to_string(left) + " bytes");
  }
}

std::string Watch::boxes() const {
  std::string text = "\n  ready    ";
  for (const Queued& queued : ready_) text += " [" + label(queued.id) + "]";
  text += "\n  timers   ";
  const double now = loop_.time();
  for (const Timer& timer : timers_) {
    text += " [" + label(timer.id) +
            (cancelled_timers_.contains(timer.id) ? " cancelled" : " in " + seconds(timer.when - now)) + "]";
  }
  text += "\n  selector ";
  for (const auto& [fd, known] : descriptors_) {
    if (known.reader) text += " [" + std::to_string(fd) + " r " + label(known.reader_id) + "]";
    if (known.writer) text += " [" + std::to_string(fd) + " w " + label(known.writer_id) + "]";
  }
  return text + "\n";
}

}  // namespace study
