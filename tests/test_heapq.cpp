// The order in which timers leave the heap: that of CPython's heapq, ties included. Every expected order here
// was printed by heapq.heappush / heappop / heapify with items that compare their time alone.
// Upstream counterpart: Lib/test/test_heapq.py.
#include "loop/python/heapq.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "tests/utils.hpp"

namespace {

using asyncio::TimerHandleState;

/// A heap of timers as the loop keeps it: only the time is compared.
struct TimerHeap {
  struct Entry {
    double when;
    asyncio::Ref<TimerHandleState> handle;
    friend bool operator<(const Entry& a, const Entry& b) { return a.when < b.when; }
  };
  bool empty() const { return entries.empty(); }
  std::size_t size() const { return entries.size(); }
  const Entry& front() const { return entries.front(); }
  void push(Entry entry) { asyncio::heappush(entries, std::move(entry)); }
  asyncio::Ref<TimerHandleState> pop() { return asyncio::heappop(entries).handle; }
  template <class Predicate> void erase_if(Predicate matches) {
    std::erase_if(entries, [&](const Entry& entry) { return matches(*entry.handle); });
    asyncio::heapify(entries);
  }
  std::vector<Entry> entries;
};

/// A heap of timers that are told apart by the order of their creation.
class Numbered {
 public:
  void push(double when) {
    handles_.push_back(asyncio::make_bound_handle<TimerHandleState>(std::tuple([] {}), when, loop_));
    heap.push({when, handles_.back()});
  }
  int pop() { return number_of(*heap.pop()); }
  int number_of(const TimerHandleState& timer) const {
    const auto is_it = [&](const auto& handle) { return handle.get() == &timer; };
    return static_cast<int>(std::find_if(handles_.begin(), handles_.end(), is_it) - handles_.begin());
  }
  std::vector<int> pop_all() {
    std::vector<int> order;
    while (!heap.empty()) order.push_back(pop());
    return order;
  }
  int created() const { return static_cast<int>(handles_.size()); }

  TimerHeap heap;

 private:
  asyncio::EventLoop loop_;
  std::vector<asyncio::Ref<TimerHandleState>> handles_;
};

std::vector<int> order_of(const std::vector<double>& times) {
  Numbered timers;
  for (const double when : times) timers.push(when);
  return timers.pop_all();
}

/// The same numbers in C++ and in Python, so that both can do the same random work.
class Random {
 public:
  std::uint64_t operator()(std::uint64_t limit) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % limit;
  }

 private:
  std::uint64_t state_ = 12345;
};

using Order = std::vector<int>;

}  // namespace

TEST_CASE("an empty heap has no timers", "[test_heapq][rule-4]") {
  Numbered timers;
  CHECK(timers.heap.empty());
  CHECK(timers.heap.size() == 0);
  timers.push(1);
  CHECK_FALSE(timers.heap.empty());
  CHECK(timers.heap.size() == 1);
  CHECK(timers.pop() == 0);
  CHECK(timers.heap.empty());
}

TEST_CASE("timers leave the heap by their time, whatever order they came in", "[test_heapq.test_push_pop]") {
  CHECK(order_of({5, 3, 4, 1, 2}) == Order{3, 4, 1, 2, 0});
  CHECK(order_of({1, 2, 3, 4, 5}) == Order{0, 1, 2, 3, 4});
  CHECK(order_of({5, 4, 3, 2, 1}) == Order{4, 3, 2, 1, 0});
}

TEST_CASE("the front of the heap is the earliest timer at all times", "[test_heapq.test_push_pop]") {
  Numbered timers;
  Random random;
  std::vector<double> times;
  for (int i = 0; i < 256; ++i) {
    times.push_back(static_cast<double>(random(1000)));
    timers.push(times.back());
    REQUIRE(timers.heap.front().when == *std::min_element(times.begin(), times.end()));
  }
}

TEST_CASE("popping everything sorts by time", "[test_heapq.test_heapsort]") {
  Numbered timers;
  Random random;
  for (int i = 0; i < 500; ++i) timers.push(static_cast<double>(random(100)));
  double last = -1;
  while (!timers.heap.empty()) {
    REQUIRE(timers.heap.front().when >= last);
    last = timers.heap.front().when;
    timers.heap.pop();
  }
}

TEST_CASE("equal times leave the heap in heapq's order, which is not that of their creation", "[test_heapq][rule-4]") {
  CHECK(order_of({1}) == Order{0});
  CHECK(order_of({1, 1}) == Order{0, 1});
  CHECK(order_of({1, 1, 1}) == Order{0, 1, 2});
  CHECK(order_of({1, 1, 1, 1}) == Order{0, 2, 1, 3});
  CHECK(order_of({1, 1, 1, 1, 1}) == Order{0, 2, 4, 1, 3});
  CHECK(order_of({1, 1, 1, 1, 1, 1}) == Order{0, 2, 5, 4, 1, 3});
  CHECK(order_of({1, 1, 1, 1, 1, 1, 1}) == Order{0, 2, 5, 6, 4, 1, 3});
  CHECK(order_of({1, 1, 1, 1, 1, 1, 1, 1}) == Order{0, 2, 6, 5, 7, 4, 1, 3});
  CHECK(order_of({1, 1, 1, 1, 1, 1, 1, 1, 1}) == Order{0, 2, 6, 8, 5, 7, 4, 1, 3});
  CHECK(order_of({1, 1, 1, 1, 1, 1, 1, 1, 1, 1}) == Order{0, 2, 6, 9, 8, 5, 7, 4, 1, 3});
}

TEST_CASE("the order of equal times depends on what else is in the heap, as with heapq", "[test_heapq][rule-4]") {
  CHECK(order_of({1, 1, 1, 1, 1, 1, 1, 1, 2}) == Order{0, 2, 6, 5, 7, 1, 3, 4, 8});
  CHECK(order_of({2, 1, 1, 1, 1, 1, 1, 1, 1}) == Order{1, 2, 6, 8, 5, 3, 7, 4, 0});
  CHECK(order_of({0, 1, 1, 1, 1, 1, 1, 1, 1}) == Order{0, 2, 6, 8, 5, 7, 4, 1, 3});
  CHECK(order_of({3, 1, 3, 2, 1, 3, 2, 1, 2, 3}) == Order{1, 4, 7, 6, 3, 8, 2, 5, 9, 0});
}

TEST_CASE("infinite times stand at the two ends of the heap", "[test_heapq][rule-4]") {
  constexpr double INF = std::numeric_limits<double>::infinity();
  CHECK(order_of({INF, 0, -INF, 1}) == Order{2, 1, 3, 0});
}

TEST_CASE("erase_if drops exactly what matches and keeps the order of times", "[test_heapq.test_heapify]") {
  Numbered timers;
  for (const double when : {9, 3, 7, 1, 5, 2, 8, 4, 6, 0}) timers.push(when);
  timers.heap.erase_if([&](const TimerHandleState& timer) { return timers.number_of(timer) % 2 == 0; });
  CHECK(timers.heap.size() == 5);
  CHECK(timers.pop_all() == Order{9, 3, 5, 1, 7});  // times 0 1 2 3 4
}

TEST_CASE("erase_if of everything leaves an empty heap", "[test_heapq.test_heapify]") {
  Numbered timers;
  for (int i = 0; i < 10; ++i) timers.push(i);
  timers.heap.erase_if([](const TimerHandleState&) { return true; });
  CHECK(timers.heap.empty());
}

TEST_CASE("5,000 random pushes, pops and compactions with many ties come out as CPython's do", "[test_heapq][rule-4]") {
  Numbered timers;
  Random random;
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a over the numbers of the popped timers
  const auto pop = [&] { hash = (hash ^ static_cast<std::uint64_t>(timers.pop())) * 0x100000001b3; };
  for (int step = 0; step < 5000; ++step) {
    if (random(3) != 0 || timers.heap.empty()) {
      timers.push(static_cast<double>(random(10)));
    } else {
      pop();
    }
    if (step % 1000 == 999) {
      timers.heap.erase_if([&](const TimerHandleState& timer) { return timers.number_of(timer) % 3 == 0; });
    }
  }
  while (!timers.heap.empty()) pop();
  CHECK(timers.created() == 3314);
  CHECK(hash == 0x86ecee16e0d7f0d9);
}
