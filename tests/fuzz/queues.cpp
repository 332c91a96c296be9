// Queues: what comes out is what a plain container would give; nobody waits who need not; join() and shutdown() hold.
#include <algorithm>
#include <deque>

#include "tests/fuzz/targets.hpp"
#include "tests/utils.hpp"

namespace fuzz {
namespace {

using asyncio::Coroutine, asyncio::Task;

int first_out(std::deque<int>& items) {
  const int item = items.front();
  items.pop_front();
  return item;
}
int last_out(std::deque<int>& items) {
  const int item = items.back();
  items.pop_back();
  return item;
}
int smallest_out(std::deque<int>& items) {
  const auto smallest = std::min_element(items.begin(), items.end());
  const int item = *smallest;
  items.erase(smallest);
  return item;
}

template <class Queue> class Run {
 public:
  Run(std::size_t maxsize, int (*out)(std::deque<int>&)) : queue_(maxsize), out_(out) {}

  void step(Bytes& input) {
    const int item = static_cast<int>(input.below(16));
    switch (input.below(10)) {
      case 0:
        test::run_once(loop_);
        break;
      case 1:
        putters_.push_back(loop_.create_task(put(item)));
        break;
      case 2:
        getters_.push_back(loop_.create_task(get()));
        break;
      case 3:
        put_nowait(item);
        break;
      case 4:
        get_nowait();
        break;
      case 5:
        cancel(putters_, input);
        break;
      case 6:
        cancel(getters_, input);
        break;
      case 7:
        task_done();
        break;
      case 8:
        joiners_.push_back(loop_.create_task(queue_.join()));
        break;
      default:
        if (input.below(16) == 0) shutdown(input.below(2) == 0);
    }
    require(failed_.empty(), failed_);
    require(queue_.qsize() == model_.size(), "the size is wrong");
  }
  // When nothing is ready any more, nobody waits for what is there.
  void settle() {
    test::run_briefly(loop_, 3 * static_cast<int>(putters_.size() + getters_.size()) + 6);
    require(failed_.empty(), failed_);
    const bool getting = any_pending(getters_), putting = any_pending(putters_), joining = any_pending(joiners_);
    require(!getting || queue_.empty(), "get() waits although there is an item");
    require(!putting || queue_.full(), "put() waits although there is room");
    require(!joining || unfinished_ > 0, "join() waits although all is done");
    require(!shut_down_ || (!getting && !putting), "someone waits for a queue that was shut down");
    for (auto* tasks : {&putters_, &getters_, &joiners_}) {
      std::erase_if(*tasks, [](const Task<void>& task) { return task.done(); });
    }
  }

 private:
  Coroutine<void> put(int item) {
    try {
      co_await queue_.put(item);
      has_put(item);
    } catch (const asyncio::QueueShutDown&) {
      check(shut_down_, "QueueShutDown without shutdown()");
    }
  }
  Coroutine<void> get() {
    try {
      has_got(co_await queue_.get());
    } catch (const asyncio::QueueShutDown&) {
      check(shut_down_, "QueueShutDown without shutdown()");
    }
  }
  void put_nowait(int item) {
    try {
      queue_.put_nowait(item);
      has_put(item);
    } catch (const asyncio::QueueFull&) {
      check(queue_.full(), "QueueFull although there is room");
    } catch (const asyncio::QueueShutDown&) {
      check(shut_down_, "QueueShutDown without shutdown()");
    }
  }
  void get_nowait() {
    try {
      has_got(queue_.get_nowait());
    } catch (const asyncio::QueueEmpty&) {
      check(queue_.empty() && !shut_down_, "QueueEmpty although there is an item");
    } catch (const asyncio::QueueShutDown&) {
      check(queue_.empty() && shut_down_, "QueueShutDown although there is an item");
    }
  }
  void cancel(std::vector<Task<void>>& tasks, Bytes& input) {
    if (!tasks.empty()) tasks[input.below(static_cast<unsigned>(tasks.size()))].cancel();
  }
  void task_done() {
    if (unfinished_ == 0) {
      check(test::thrown([&] {
              queue_.task_done();
              return 0;
            }) != "",
            "task_done() counts below zero");
    } else {
      queue_.task_done();
      --unfinished_;
    }
  }
  void shutdown(bool immediate) {
    queue_.shutdown(immediate);
    shut_down_ = true;
    if (!immediate) return;
    unfinished_ -= std::min(unfinished_, model_.size());
    model_.clear();
  }

  void has_put(int item) {
    check(!shut_down_, "an item was put after shutdown()");
    model_.push_back(item);
    ++unfinished_;
  }
  void has_got(int item) {
    if (model_.empty()) return check(false, "an item out of an empty queue");
    check(item == out_(model_), "the wrong item");
  }
  void check(bool holds, const char* what) {
    if (!holds) failed_ = what;
  }
  static bool any_pending(const std::vector<Task<void>>& tasks) {
    return std::any_of(tasks.begin(), tasks.end(), [](const Task<void>& task) { return !task.done(); });
  }

  test::TestLoop loop_;
  Queue queue_;
  int (*out_)(std::deque<int>&);
  std::deque<int> model_;
  std::size_t unfinished_ = 0;
  bool shut_down_ = false;
  std::vector<Task<void>> putters_, getters_, joiners_;
  std::string failed_;
};

template <class Queue> void run(Bytes& input, int (*out)(std::deque<int>&)) {
  Run<Queue> run(input.below(4), out);
  for (int i = 1; !input.empty(); ++i) {
    run.step(input);
    if (i % 8 == 0) run.settle();
  }
  run.settle();
}

}  // namespace

void queues(std::string_view input) {
  Bytes bytes(input);
  switch (bytes.below(3)) {
    case 0:
      return run<asyncio::Queue<int>>(bytes, first_out);
    case 1:
      return run<asyncio::LifoQueue<int>>(bytes, last_out);
    default:
      return run<asyncio::PriorityQueue<int>>(bytes, smallest_out);
  }
}

}  // namespace fuzz
