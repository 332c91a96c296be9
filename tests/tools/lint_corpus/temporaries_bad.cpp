// What is made in one expression with a co_await and destroyed twice.
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "asyncio.hpp"

using asyncio::Coroutine;

struct Request {
  std::string path;
  int retries = 3;
};
struct Nested {
  Request request;
};

Coroutine<int> fetch(Request request);
Coroutine<int> fetch_by_reference(int tries, const Request& request);
Coroutine<int> fetch_default(int tries, Request request = {"/", 1});
Coroutine<int> nested(Nested nested);
Coroutine<int> strings(std::array<std::string, 1> texts);
Coroutine<int> numbers(std::vector<int> values);
Coroutine<int> length(std::string text);
Coroutine<std::string> text();
Coroutine<bool> yes();
int plain(Request request);
template <class F> Coroutine<int> call(F function) { co_return function(); }

Coroutine<int> aggregates(bool which) {
  int sum = co_await fetch(Request{"/index", 1});            // finds: aggregate
  sum += co_await fetch({"/index", 1});                      // finds: aggregate
  sum += co_await fetch({.path = "/index"});                 // finds: aggregate
  sum += co_await fetch_by_reference(1, {"/index", 1});      // finds: aggregate
  sum += co_await nested(Nested{{"/index", 1}});             // finds: aggregate
  sum += co_await fetch_default(1);                          // finds: aggregate
  sum += co_await strings(std::array<std::string, 1>{""});   // finds: aggregate
  sum += plain(Request{"/index", 1}) + co_await length("");  // finds: aggregate, order
  Request request{co_await text(), 1};                       // finds: aggregate
  const Request other = {.path = co_await text()};           // finds: aggregate
  sum += co_await numbers(std::vector{1, 2, 3});             // finds: list
  sum += co_await numbers(std::vector<int>{sum});            // finds: list
  std::string name = which ? co_await text() : "nobody";     // finds: conditional
  name = which ? co_await text() : co_await text();          // finds: conditional
  sum += co_await length(which ? name : std::string("b"));   // finds: conditional
  co_return sum + request.retries + other.retries;
}

Coroutine<Request> returned(bool which) {
  if (which) co_return Request{co_await text(), 1};  // finds: aggregate
  co_return {co_await text(), 1};                    // finds: aggregate
}

Coroutine<std::string> returned_conditionally(bool which) {
  co_return which ? co_await text() : std::string("b");  // finds: conditional
}

Coroutine<void> thrown() {
  throw std::runtime_error(co_await text());  // finds: throw
}

Coroutine<int> lambdas(std::shared_ptr<int> counter) {
  std::string name = "name";
  std::vector<int> values(3);
  int sum = co_await call([name] { return int(name.size()); });                   // finds: lambda
  sum += co_await call([=] { return int(name.size()); });                         // finds: lambda
  sum += co_await call([&, counter] { return sum + *counter; });                  // finds: lambda
  sum += co_await call([taken = std::move(name)] { return int(taken.size()); });  // finds: lambda
  sum += co_await [values]() -> Coroutine<int> { co_return values.at(0); }();     // finds: lambda
  co_return sum;
}
