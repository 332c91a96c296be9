// A generator that also receives: send() goes on, and hands a value in where the last yield handed one out.
// Look at co_yield: it is an expression, with the value that was sent. And at the end: to return is to raise
// StopIteration in the caller, with the returned value.
#include <coroutine>
#include <iostream>
#include <string>

struct StopIteration {
  std::string value;
};

struct Generator {
  struct promise_type {
    struct Sent : std::suspend_always {  // what a co_yield awaits
      std::string await_resume() { return promise.sent; }
      promise_type& promise;
    };
    Generator get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    Sent yield_value(std::string value) {
      yielded = value;
      return {{}, *this};
    }
    void return_value(std::string value) { returned = value; }
    void unhandled_exception() { throw; }  // out of resume(), into the caller
    std::string yielded, sent, returned = "None";
  };

  std::string send(std::string value) {
    promise_type& promise = handle.promise();
    promise.sent = value;
    if (handle.done()) throw StopIteration{"None"};
    handle.resume();
    if (handle.done()) throw StopIteration{promise.returned};
    return promise.yielded;
  }

  std::coroutine_handle<promise_type> handle;
};

Generator spam() {
  std::string result = co_yield "somevalue";
  std::cout << "The result is " << result << "\n";
  co_return "the end";
}

int main() {
  Generator generator = spam();
  for (std::string value : {"None", "42", "43"}) {  // before the first yield there is nobody to take a value
    std::cout << ">>>> send(" << value << ")\n";
    try {
      std::cout << generator.send(value) << "\n\n";
    } catch (const StopIteration& stop) {
      std::cout << "StopIteration: " << stop.value << "\n\n";
    }
  }
  generator.handle.destroy();
}
