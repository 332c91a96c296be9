// Named first, with nothing to destroy, with a constructor, or no co_await beside it.
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "asyncio.hpp"

using asyncio::Coroutine;
using namespace std::chrono_literals;

enum class Mode { fast, slow };
struct Options {
  std::string_view name = {};
  std::optional<double> timeout = std::nullopt;
  Mode mode = Mode::fast;
  const std::string* text = nullptr;
  bool is_fast() const { return mode == Mode::fast; }
};
struct Request {
  std::string path;
  int retries = 3;
};
class Address {
 public:
  Address(std::string host, int port) : host_{std::move(host)}, port_(port) {}

 private:
  std::string host_;
  int port_;
};

Coroutine<int> fetch(Request request);
Coroutine<int> connect(Address address);
Coroutine<int> with_options(Options options = {});
Coroutine<int> length(std::string text);
Coroutine<std::string> text();
Coroutine<bool> yes();
Coroutine<int> one();
int plain(Request request);
Request make();
void print(const char* what);
template <class F> Coroutine<int> call(F function) { co_return function(); }

Coroutine<int> named(bool which) {
  const Request request{"/index", 1};
  int sum = co_await fetch(request);
  sum += co_await fetch(make());
  sum += co_await fetch(Request(request));
  sum += plain(Request{"/index", 1});
  sum += co_await connect({"localhost", 80});
  sum += co_await connect(Address{"localhost", 80});
  sum += co_await with_options({.name = "name", .timeout = 1.0});
  sum += co_await with_options(Options{.mode = Mode::slow});
  sum += co_await with_options();
  sum += co_await length(std::string{"text"});
  const std::vector values{1, 2, 3};
  std::vector<int> empty = co_await asyncio::gather(std::vector<Coroutine<int>>{});
  const int number = which ? co_await one() : 7;
  sum += co_await with_options({.timeout = which ? sum + 1 : number});
  const bool is = which && co_await yes();
  print(co_await yes() ? "yes" : "no");
  const std::string a = "a", b = "b";
  sum += co_await length(which ? a : b);
  co_return sum + number + is + values[0] + int(empty.size());
}

Coroutine<Request> returned(bool which) {
  const std::string path = co_await text();
  if (which) co_return Request{path, 1};
  co_return {path, 1};
}

Coroutine<void> thrown() {
  const std::string what = co_await text();
  throw std::runtime_error(what);
}

struct Counter {
  int count = 0;
  Coroutine<int> increment() {
    co_return co_await call([this] { return ++count; });
  }
};

Coroutine<int> lambdas(std::shared_ptr<int> counter) {
  std::string name = "name";
  int steps = 3;
  Mode mode = Mode::slow;
  auto body = [name, counter] { return int(name.size()) + *counter; };
  int sum = co_await call(body);
  sum += co_await call([&] { return int(name.size()); });
  sum += co_await call([&name] { return int(name.size()); });
  sum += co_await call([steps, mode] { return mode == Mode::slow ? steps : 0; });
  sum += co_await call([step = 3]() mutable { return ++step; });
  asyncio::create_task([name]() -> Coroutine<void> { co_await asyncio::sleep(1ms); });
  co_return sum;
}
