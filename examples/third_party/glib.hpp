// Two loops, one thread: a selector that waits in GLib's main context, so that GLib's sources and our tasks share it. And
// GLib's asynchronous calls as coroutines.
//
// The contract. The loop owns its descriptors, as always; GLib polls them, as part of one source of ours. While our loop
// waits, GLib's callbacks run, in our thread; select() returns after each round of them, because they may have woken a
// task. None of them may block, and no task either: whoever does stops both. A cancelled await cancels GLib's
// operation; its callback still comes, and finds that nobody waits. The selector must not outlive the main context; a
// callback of GLib's that uses the loop must be removed before the loop ends.
#pragma once

#include <gio/gio.h>

#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "asyncio.hpp"

namespace glib {

using selectors::EVENT_READ, selectors::EVENT_WRITE;

/// What GLib reports as GError; what() is its message.
class Error : public asyncio::Error {
 public:
  explicit Error(GError* error) : asyncio::Error(error->message), code_(error->code) { g_error_free(error); }
  int code() const { return code_; }

 private:
  int code_;
};

/// Waits in the thread's default main context.
class Selector : public selectors::BaseSelector {
 public:
  Selector() : source_(reinterpret_cast<Source*>(g_source_new(&functions(), sizeof(Source)))) {
    source_->selector = this;
    g_source_set_can_recurse(source(), FALSE);
    g_source_attach(source(), context_);
  }
  ~Selector() override {
    g_source_destroy(source());
    g_source_unref(source());
  }

  selectors::SelectorKey register_(int fd, unsigned events, void* data) override {
    const selectors::SelectorKey key = BaseSelector::register_(fd, events, data);
    tags_[fd] = g_source_add_unix_fd(source(), fd, conditions(events));
    return key;
  }
  selectors::SelectorKey unregister(int fd) override {
    const selectors::SelectorKey key = BaseSelector::unregister(fd);
    g_source_remove_unix_fd(source(), tags_.at(fd));
    tags_.erase(fd);
    return key;
  }
  selectors::SelectorKey modify(int fd, unsigned events, void* data) override {
    const selectors::SelectorKey key = BaseSelector::modify(fd, events, data);
    g_source_modify_unix_fd(source(), tags_.at(fd), conditions(events));
    return key;
  }

  /// One round of GLib's loop, which may run other sources' callbacks, and then returns early.
  std::span<const selectors::SelectorEvent> select(std::optional<double> timeout) override {
    check_open();
    ready_.clear();
    ready_.reserve(size());  // no exception may pass through GLib
    const bool waits = !timeout || *timeout > 0;
    g_source_set_ready_time(source(), deadline(timeout));
    g_main_context_iteration(context_, waits);
    return ready_;
  }
  void close() override {
    BaseSelector::close();
    g_source_destroy(source());
  }

 private:
  struct Source {
    GSource base;
    Selector* selector;
  };
  GSource* source() const { return &source_->base; }

  static GIOCondition conditions(unsigned events) {
    return static_cast<GIOCondition>((events & EVENT_READ ? G_IO_IN : 0) | (events & EVENT_WRITE ? G_IO_OUT : 0));
  }
  // In GLib's microseconds, rounded up: -1 is never, 0 is now.
  static gint64 deadline(std::optional<double> timeout) {
    if (!timeout) return -1;
    return *timeout <= 0 ? 0 : g_get_monotonic_time() + static_cast<gint64>(std::ceil(*timeout * 1e6));
  }

  static GSourceFuncs& functions() {
    static GSourceFuncs functions = {nullptr, nullptr, dispatch, nullptr, nullptr, nullptr};
    return functions;
  }
  static gboolean dispatch(GSource* source, GSourceFunc, void*) {
    reinterpret_cast<Source*>(source)->selector->collect();
    return G_SOURCE_CONTINUE;
  }
  void collect() {
    for (const auto& [fd, tag] : tags_) {
      const unsigned happened = g_source_query_unix_fd(source(), tag);
      const unsigned events = (happened & ~G_IO_OUT ? EVENT_READ : 0) | (happened & ~G_IO_IN ? EVENT_WRITE : 0);
      const selectors::SelectorKey key = get_key(fd);
      if (events & key.events) ready_.push_back({key, events & key.events});
    }
  }

  GMainContext* const context_ = g_main_context_default();
  Source* const source_;
  std::unordered_map<int, void*> tags_;
  std::vector<selectors::SelectorEvent> ready_;
};

/// A loop that shares its thread with GLib: asyncio::run(main, {.loop_factory = glib::new_event_loop}).
inline std::unique_ptr<asyncio::EventLoop> new_event_loop() {
  return std::make_unique<asyncio::EventLoop>(std::make_unique<Selector>());
}

/// The bytes of a file, by GIO, which has threads for it. Error.
inline asyncio::Coroutine<std::string> load(std::string path) {
  using Contents = asyncio::Future<std::string>;
  const Contents contents(asyncio::get_running_loop());
  const std::unique_ptr<GFile, void (*)(void*)> file(g_file_new_for_path(path.c_str()), g_object_unref);
  const std::unique_ptr<GCancellable, void (*)(void*)> cancellable(g_cancellable_new(), g_object_unref);
  const auto done = [](GObject* source, GAsyncResult* result, void* data) {
    const std::unique_ptr<Contents> future(static_cast<Contents*>(data));
    char* bytes = nullptr;
    gsize size = 0;
    GError* error = nullptr;
    const bool loaded = g_file_load_contents_finish(G_FILE(source), result, &bytes, &size, nullptr, &error);
    const std::unique_ptr<char, void (*)(void*)> owned(bytes, g_free);
    const std::exception_ptr failed = loaded ? nullptr : std::make_exception_ptr(Error(error));
    if (future->done()) return;  // it was cancelled
    loaded ? future->set_result(std::string(bytes, size)) : future->set_exception(failed);
  };
  g_file_load_contents_async(file.get(), cancellable.get(), done, std::make_unique<Contents>(contents).release());
  const asyncio::Finally cancel([&] { g_cancellable_cancel(cancellable.get()); });
  co_return co_await contents;
}

}  // namespace glib
