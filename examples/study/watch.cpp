#include "examples/study/watch.hpp"

#include <sys/ioctl.h>

#include <algorithm>
#include <cstdio>
#include <typeinfo>

namespace study {
namespace {

using asyncio::AnyFuture, asyncio::AnyTask, asyncio::Handle, asyncio::HandleState, asyncio::TaskState;

// More of something than this is looked through once per iteration, instead of after each callback.
constexpr std::size_t MANY = 256;

std::string seconds(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6f", value);
  std::string number = text;
  number.erase(number.find_last_not_of('0') + 1);
  return number.ends_with('.') ? number + "0" : number;
}

// The object behind a handle.
struct Behind : Handle {
  explicit Behind(const Handle& handle) : Handle(handle) {}
  HandleState* state() const noexcept { return state_.get(); }
};
HandleState* behind(const Handle& handle) { return Behind(handle).state(); }

TaskState* behind(const AnyTask& task) { return static_cast<TaskState*>(task.state()); }

// What a reader wants to know of "<Handle main()::{lambda()#1}>": "lambda in main".
std::string short_name(std::string name) {
  if (name.starts_with("<Handle ")) name = name.substr(8, name.size() - 9);
  const bool is_lambda = name.find("lambda") != std::string::npos;
  if (name.starts_with("asyncio::(anonymous namespace)::")) name.erase(9, 23);
  if (name.find("(*)") != std::string::npos) return "function";
  name.resize(std::min(name.find_first_of("(<{"), name.size()));
  while (name.ends_with(':')) name.pop_back();
  return is_lambda ? "lambda in " + name : name;
}

std::string stack_json(const AnyTask& task) {
  std::string json;
  for (const asyncio::StackEntry& entry : task.get_stack()) {
    json += (json.empty() ? "[" : ",[") + array(quote(entry.function), quote(entry.file), entry.line) + "]";
  }
  return "[" + json + "]";
}

int bytes_waiting(int fd) {
  int n = 0;
  return ::ioctl(fd, FIONREAD, &n) == 0 ? n : -1;
}

std::string interest(unsigned events) {
  return std::string(events & selectors::EVENT_READ ? "r" : "") + (events & selectors::EVENT_WRITE ? "w" : "");
}

}  // namespace

int Watch::new_handle(const State* state, const char* kind, const std::string& label, int task, int place) {
  const int id = recorder_.record.add("handles", "[" + array(quote(kind), quote(label), task, place) + "]");
  labels_[id] = task < 0 ? label + "@" + std::to_string(id) : label;
  handles_[state] = {id, std::string(kind) != "callback" && std::string(kind) != "timer", 0};
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

// A task and the callback of a descriptor are scheduled again and again. Anything else is new.
int Watch::handle_of(const State* state, const char* kind, int place) {
  const auto found = handles_.find(state);
  if (found != handles_.end() && (found->second.repeats || found->second.queued > 0)) return found->second.id;
  return new_handle(state, kind, short_name(state->repr()), -1, place);
}

Watch::KnownTask& Watch::known(const AnyTask& task) {
  KnownTask& known = tasks_[task.state()];
  if (known.id >= 0) return known;
  const asyncio::Frame* frame = behind(task)->coro_.frame();
  const std::source_location at = frame ? frame->of_program().where : std::source_location();
  const std::string function = frame ? asyncio::function_name(at) : "";
  known = {
      recorder_.record.add(
          "tasks", "[" + array(quote(task.get_name()), quote(function), quote(at.file_name()), at.line(), id_) + "]"),
      behind(task)};
  new_handle(behind(task), "task", task.get_name(), known.id);
  return known;
}

// A future is called what the innermost coroutine that awaits it is called, such as asyncio::Queue<int>::get. That of
// gather is awaited by the program itself.
Watch::KnownFuture& Watch::future_of(const AnyTask& task, const AnyFuture& future) {
  KnownFuture& known = futures_[future.state()];
  if (known.id >= 0 && !known.done) return known;
  const auto found = tasks_.find(future.state());
  const std::vector<asyncio::StackEntry> stack = task.get_stack();
  const asyncio::FutureState& state = *future.state();
  const bool is_gather = asyncio::demangle(typeid(state).name()).find("Gathering") != std::string::npos;
  const std::string awaits = stack.empty() ? "" : stack.back().function;
  const std::string entry =
      "[" + array(quote(is_gather ? "asyncio::gather" : awaits), found == tasks_.end() ? -1 : found->second.id) + "]";
  return known = {recorder_.record.add("futures", entry)};
}

void Watch::before_select(std::optional<double> timeout) {
  const std::lock_guard lock(recorder_.mutex);
  due_timers_are_known_ = true;  // no callback has run: none was due
  find_skipped();
  find_cancellations();
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
  const State* state = behind(handle);
  const auto* timer = dynamic_cast<const asyncio::TimerHandleState*>(state);
  const int scheduler = by ? running_.id : -1;
  const bool by_selector = in_select_ && !by;
  const int place = by_selector ? -1 : recorder_.record.place();
  const int id = handle_of(state, timer ? "timer" : "callback", place);
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
  const State* state = behind(handle);
  while (!ready_.empty() && ready_.front().state != state) skip();
  running_ = ready_.empty() ? Queued{handle_of(state, "callback", -1), state} : dequeue();
  event("run", array(running_.id), label(running_.id));
}

void Watch::after_run(const Handle& handle) {
  const std::lock_guard lock(recorder_.mutex);
  find_unread(behind(handle));
  if (tasks_.size() <= MANY) find_cancellations();
  if (timers_.size() <= MANY) find_cancelled_timers();
  if (descriptors_.size() <= MANY) find_descriptors();
  event("ran", array(running_.id), label(running_.id));
  running_ = {};
}

void Watch::task_created(const AnyTask& task, const AnyTask& by) {
  const std::lock_guard lock(recorder_.mutex);
  tasks_.erase(task.state());
  futures_.erase(task.state());
  const int creator = by ? known(by).id : -1;
  const int id = known(task).id;
  event("create", array(id, creator), task.get_name() + (by ? "  by " + by.get_name() : ""), recorder_.record.place());
}

void Watch::task_step(const AnyTask& task) {
  const std::lock_guard lock(recorder_.mutex);
  find_cancellation(known(task));
  event("step", array(known(task).id), task.get_name());
}

void Watch::task_waits(const AnyTask& task, const AnyFuture& on) {
  const std::lock_guard lock(recorder_.mutex);
  const int future = on ? future_of(task, on).id : -1;
  const int stack = recorder_.record.intern("stacks", stack_json(task));
  const std::vector<asyncio::StackEntry> entries = task.get_stack();
  std::string text = task.get_name() + (on ? " on a future" : " for one iteration");
  if (on && tasks_.contains(on.state()))
    text = task.get_name() + " on " + static_cast<TaskState*>(on.state())->get_name();
  if (!entries.empty()) text += "  in " + entries.back().function;
  event("wait", array(known(task).id, future, stack), text);
}

void Watch::task_woken(const AnyTask& task, const AnyFuture& by) {
  const std::lock_guard lock(recorder_.mutex);
  const auto found = futures_.find(by.state());  // it was waited for
  if (found == futures_.end()) return;
  found->second.done = true;
  event("wake", array(known(task).id, found->second.id), task.get_name(), recorder_.record.place());
}

void Watch::task_done(const AnyTask& task) {
  const std::lock_guard lock(recorder_.mutex);
  find_cancellation(known(task));
  const std::string repr = task.repr();  // not exception(), after which nobody would hear of it
  const std::size_t error = repr.find(" exception=");
  const char* outcome = task.cancelled() ? "cancelled" : error == std::string::npos ? "returned" : "raised";
  const std::string text = error == std::string::npos ? "" : repr.substr(error + 11, repr.size() - error - 12);
  event("done", array(known(task).id, quote(outcome), quote(text)), task.get_name() + " " + outcome + " " + text);
  futures_.erase(task.state());
  tasks_.erase(task.state());
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
  const auto name = [&](const State* state) { return own ? "self-pipe" : short_name(state->repr()); };
  for (const State* gone : {known.reader, known.writer}) {
    if (gone && gone != reader && gone != writer) handles_.erase(gone);
  }
  if (known.reader != reader) known.reader_id = reader ? new_handle(reader, "reader", name(reader)) : -1;
  if (known.writer != writer) known.writer_id = writer ? new_handle(writer, "writer", name(writer)) : -1;
  known.reader = reader, known.writer = writer;
  const AnyTask owner = runs_here() ? asyncio::current_task(loop_) : AnyTask();
  event("fd", array(fd, known.reader_id, known.writer_id, owner ? this->known(owner).id : -1),
        std::to_string(fd) + (reader ? " reader " + label(known.reader_id) : "") +
            (writer ? " writer " + label(known.writer_id) : "") + (reader || writer ? "" : " gone"));
}

void Watch::find_cancellations() {
  for (auto& [state, task] : tasks_) find_cancellation(task);
}

void Watch::find_cancellation(KnownTask& task) {
  if (task.cancelling == task.state->cancelling()) return;
  task.cancelling = task.state->cancelling();
  event("cancels", array(task.id, task.cancelling),
        task.state->get_name() + ".cancelling() is " + std::to_string(task.cancelling));
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
