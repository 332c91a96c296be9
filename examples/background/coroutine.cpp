// A generator that also receives: send() goes on, and hands a value in where the last yield handed one out.
// Look at co_yield: it is an expression, with the value that was sent. And at the end: to return is to raise
// StopIteration in the caller, with the returned value; any other exception comes out as it is.
#include <coroutine>
#include <exception>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

struct StopIteration : std::exception {
  explicit StopIteration(std::string value) : value(std::move(value)) {}
  const char* what() const noexcept override { return "StopIteration"; }
  std::string value;
};

class Generator {
 public:
  struct promise_type {
    Generator get_return_object() { return Generator(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    auto yield_value(double v) {
      struct Awaiter : std::suspend_always {
        explicit Awaiter(promise_type& p) : promise(p) {}
        double await_resume() { return promise.sent; }
        promise_type& promise;
      };
      value = v;
      return Awaiter(*this);
    }
    void return_value(std::string v) { returned = std::move(v); }
    void unhandled_exception() { exception = std::current_exception(); }
    double value = 0, sent = 0;
    std::string returned;
    std::exception_ptr exception;
  };

  double send(double value) {
    auto& promise = handle_.promise();
    if (handle_.done()) throw StopIteration("");
    promise.sent = value;
    handle_.resume();
    if (promise.exception) std::rethrow_exception(std::exchange(promise.exception, nullptr));
    if (handle_.done()) throw StopIteration(promise.returned);
    return promise.value;
  }
  double next() { return send(0); }

  Generator(Generator&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  ~Generator() {
    if (handle_) handle_.destroy();
  }

 private:
  explicit Generator(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

Generator average() {
  double sum = 0, sent = co_yield 0;
  int count = 0;
  while (sent != 0) {
    if (sent < 0) throw std::invalid_argument("a negative number");
    sum += sent;
    ++count;
    sent = co_yield sum / count;
  }
  co_return "averaged " + std::to_string(count) + " numbers";
}

void drive(std::initializer_list<double> values) {
  Generator generator = average();
  generator.next();  // to the first yield: before it there is nowhere to send a value to
  try {
    for (double value : values) {
      const double answer = generator.send(value);
      std::cout << "sent " << value << ", received " << answer << "\n";
    }
  } catch (const StopIteration& stop) {
    std::cout << "StopIteration: " << stop.value << "\n";
  } catch (const std::invalid_argument& error) {
    std::cout << "ValueError: " << error.what() << "\n";
  }
}

int main() {
  drive({1, 2, 6, 0});
  drive({4, -1});
}
