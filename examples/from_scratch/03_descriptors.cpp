// 03: epoll instead of sleeping, and poll beside it: whatever comes first, a descriptor or a timer, ends the sleep.
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

// A callback that is scheduled: whoever has a copy can cancel it.
struct Handle {
  void cancel() const { *cancelled = true; }

  std::function<void()> callback;
  double when = 0;
  std::shared_ptr<bool> cancelled = std::make_shared<bool>(false);
};

// poll(2) is told of all descriptors in every call, and says of each whether it can be read.
struct PollSelector {
  void register_(int fd) { fds_.push_back({fd, POLLIN, 0}); }
  std::vector<int> select(int milliseconds) {
    ::poll(fds_.data(), fds_.size(), milliseconds);
    std::vector<int> ready;
    for (const pollfd& p : fds_) {
      if (p.revents) ready.push_back(p.fd);
    }
    return ready;
  }
  std::vector<pollfd> fds_;
};

// epoll(7) is told of a descriptor once, and returns those that can be read.
struct EpollSelector {
  ~EpollSelector() { ::close(epfd_); }
  void register_(int fd) {
    epoll_event event{EPOLLIN, {.fd = fd}};
    ::epoll_ctl(epfd_, EPOLL_CTL_ADD, fd, &event);
  }
  std::vector<int> select(int milliseconds) {
    epoll_event events[64];
    const int n = ::epoll_wait(epfd_, events, 64, milliseconds);
    std::vector<int> ready;
    for (int i = 0; i < n; ++i) ready.push_back(events[i].data.fd);
    return ready;
  }
  int epfd_ = ::epoll_create1(EPOLL_CLOEXEC);
};

class EventLoop {
 public:
  double time() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

  template <class F, class... Args> Handle call_soon(F f, Args... args) {
    ready_.push_back({std::bind_front(f, args...)});
    return ready_.back();
  }
  template <class F, class... Args> Handle call_later(double delay, F f, Args... args) {
    return call_at(time() + delay, f, args...);
  }
  template <class F, class... Args> Handle call_at(double when, F f, Args... args) {
    const Handle timer{std::bind_front(f, args...), when};
    scheduled_.push_back(timer);
    std::ranges::push_heap(scheduled_, std::greater(), &Handle::when);
    return timer;
  }

  template <class F, class... Args> void add_reader(int fd, F f, Args... args) {
    selector_.register_(fd);
    callbacks_[fd] = {std::bind_front(f, args...)};
  }

  void run_forever() {
    do run_once();
    while (!stopping_);
    stopping_ = false;
  }
  void stop() { stopping_ = true; }

 private:
  void run_once() {
    drop_cancelled_timers();
    process_events(selector_.select(select_timeout()));
    queue_due_timers();
    run_ready();
  }

  void drop_cancelled_timers() {
    while (!scheduled_.empty() && *scheduled_.front().cancelled) pop_timer();
  }

  // In milliseconds, rounded up, so that no timer is early; -1 is for ever.
  int select_timeout() const {
    if (!ready_.empty() || stopping_) return 0;
    if (scheduled_.empty()) return -1;
    return static_cast<int>(std::ceil(std::max(scheduled_.front().when - time(), 0.0) * 1e3));
  }

  void process_events(std::vector<int> ready) {
    for (int fd : ready) ready_.push_back(callbacks_.at(fd));
  }

  void queue_due_timers() {
    const double end_time = time() + 1e-9;  // the clock's resolution
    while (!scheduled_.empty() && scheduled_.front().when < end_time) ready_.push_back(pop_timer());
  }

  void run_ready() {
    for (std::size_t ntodo = ready_.size(); ntodo > 0; --ntodo) {
      const Handle handle = ready_.front();
      ready_.pop_front();
      if (!*handle.cancelled) handle.callback();
    }
  }

  Handle pop_timer() {
    std::ranges::pop_heap(scheduled_, std::greater(), &Handle::when);
    const Handle timer = scheduled_.back();
    scheduled_.pop_back();
    return timer;
  }

  EpollSelector selector_;  // a PollSelector would do as well
  std::deque<Handle> ready_;
  std::vector<Handle> scheduled_;    // a heap: the next one first
  std::map<int, Handle> callbacks_;  // of descriptors
  bool stopping_ = false;
};

void say(std::string text) { std::cout << text << "\n"; }

EventLoop loop;

int main() {
  int ends[2];
  if (::pipe(ends) != 0) return 1;
  loop.add_reader(ends[0], [&] {
    char data[5];
    const auto n = ::read(ends[0], data, sizeof data);
    say("reader: " + std::string(data, n));
    if (n < 5) loop.stop();
  });
  loop.call_later(0.02, say, "timer: writes 11 bytes");
  loop.call_later(0.02, ::write, ends[1], "hello, loop", 11);
  loop.run_forever();
  PollSelector selector;
  selector.register_(ends[0]);
  if (::write(ends[1], "bye", 3) > 0) say("poll: of 1 descriptor ready: " + std::to_string(selector.select(0).size()));
}
