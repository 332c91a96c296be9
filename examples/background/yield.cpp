// A generator by hand: what a function with `yield` in it is made of.
// Look at Generator: a handle to a frame, resume() to go on, and the value that the promise keeps at each co_yield.
// Nothing of asyncio is here yet: a Coroutine is the same, with an await where this has a yield.
#include <coroutine>
#include <exception>
#include <iostream>
#include <utility>

template <class T> class Generator {
 public:
  struct promise_type {
    Generator get_return_object() { return Generator(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    std::suspend_always yield_value(T v) {
      value = std::move(v);
      return {};
    }
    void return_void() {}
    void unhandled_exception() { throw; }
    T value{};
  };

  struct Iterator {
    const T& operator*() const { return handle.promise().value; }
    void operator++() { handle.resume(); }
    bool operator!=(std::default_sentinel_t) const { return !handle.done(); }
    std::coroutine_handle<promise_type> handle;
  };
  Iterator begin() {
    handle_.resume();
    return {handle_};
  }
  std::default_sentinel_t end() { return {}; }

  Generator(Generator&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  ~Generator() {
    if (handle_) handle_.destroy();
  }

 private:
  explicit Generator(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

Generator<int> countdown(int n) {
  while (n > 0) {
    co_yield n;
    --n;
  }
}

int main() {
  for (int i : countdown(5)) std::cout << i << " ";
  std::cout << "\n";
}
