// A library that opens sockets when it likes and wants a timer, too: c-ares, through dns.hpp.
// Look at Resolver::set_timer: the library's own timeouts need the loop, because it never waits itself.
#include <algorithm>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "examples/third_party/common.hpp"
#include "examples/third_party/dns.hpp"

using asyncio::Coroutine;
using dns::Resolver;

Coroutine<> print(Resolver& resolver, std::string name) {
  std::string answer;
  try {
    Resolver::Addresses addresses = co_await resolver.query(name);
    std::sort(addresses.begin(), addresses.end());
    answer = std::to_string(addresses.size()) + ", the first is " + addresses[0];
  } catch (const dns::DNSError& error) {
    answer = error.what();
  }
  std::cout << name << ": " << answer << "\n";
}

// 100 are under way at a time: more would overflow the server's socket, and UDP loses them.
Coroutine<> query_some(Resolver& resolver, std::string name, asyncio::Semaphore& limit, std::set<std::string>& all) {
  const Resolver::Addresses addresses = co_await asyncio::async_with(
      limit, [&]() -> Coroutine<Resolver::Addresses> { co_return co_await resolver.query(name); });
  all.insert(addresses.begin(), addresses.end());
}

Coroutine<std::set<std::string>> query_many(Resolver& resolver, int count) {
  asyncio::Semaphore limit(100);
  std::set<std::string> all;
  std::vector<Coroutine<>> queries;
  for (int i = 0; i < count; ++i) {
    queries.push_back(query_some(resolver, "n" + std::to_string(i) + ".many.test", limit, all));
  }
  co_await asyncio::gather(std::move(queries));
  co_return all;
}

// A socket that nobody reads. The library waits 0.1 s, then 0.2 s more, and gives up.
Coroutine<> show_silence() {
  auto& loop = asyncio::get_running_loop();
  const asyncio::SocketAddress anywhere("127.0.0.1", 0);
  const auto silent =
      co_await loop.create_datagram_endpoint([] { return std::make_shared<asyncio::DatagramProtocol>(); }, anywhere);
  Resolver resolver(silent.first->get_extra_info("sockname")->port(), 100, 2);
  const double start = loop.time();
  co_await print(resolver, "silent.test");
  const double passed = loop.time() - start;
  std::cout << "after " << (passed >= 0.29 && passed < 1 ? "both tries" : std::to_string(passed) + " s") << "\n";
  const std::string error = co_await common::error_of(asyncio::wait_for(resolver.query("silent.test"), 0.05));
  std::cout << "and if we do not wait so long: " << error << "\n";
}

Coroutine<> demonstrate(int port) {
  {
    Resolver resolver(port);
    for (const char* name : {"one.test", "two.test", "missing.test", "big.test"}) co_await print(resolver, name);
    const auto all = co_await query_many(resolver, 1000);
    std::cout << "1000 queries: " << all.size() << " address, " << *all.begin() << "\n";
  }
  co_await show_silence();
  Resolver nobody(1);
  co_await print(nobody, "one.test");
}

Coroutine<> measure(int port) {
  Resolver resolver(port);
  const common::Stopwatch one_by_one;
  for (int i = 0; i < 2000; ++i) co_await resolver.query("one.test");
  one_by_one.report("query", 2000);
  const common::Stopwatch together;
  co_await query_many(resolver, 5000);
  together.report("100 queries at a time", 5000);
}

Coroutine<> query_for_ever(Resolver& resolver) {
  for (;;) co_await asyncio::wait_for(resolver.query("one.test"), 2.0);
}

Coroutine<> ask_until_killed(int port) {
  Resolver resolver(port, 200, 2);
  std::vector<Coroutine<std::string>> askers;
  for (int i = 0; i < 20; ++i) askers.push_back(common::error_of(query_for_ever(resolver)));
  std::cout << "asking" << std::endl;
  const std::vector<std::string> errors = co_await asyncio::gather(std::move(askers));
  const std::set<std::string> different(errors.begin(), errors.end());
  for (const std::string& error : different) std::cout << error << "\n";
}

// Cancels at every moment, also at the very end with queries under way: each answer must belong to its name.
Coroutine<> cancel_at_random(int port) {
  Resolver resolver(port);
  int wrong = 0, cancelled = 0;
  for (int i = 0; i < 600; ++i) {
    const asyncio::Future<Resolver::Addresses> one = resolver.query("one.test"), two = resolver.query("two.test");
    for (int yields = i % 5; yields > 0; --yields) co_await asyncio::sleep(0);
    cancelled += one.cancel();
    const Resolver::Addresses addresses = co_await two;
    wrong += addresses != Resolver::Addresses(1, "10.0.0.2");
  }
  std::vector<asyncio::Future<Resolver::Addresses>> under_way;
  for (int i = 0; i < 10; ++i) under_way.push_back(resolver.query("one.test"));
  for (auto& future : under_way) future.cancel();
  std::cout << "wrong: " << wrong << ", cancelled some: " << (cancelled > 0) << "\n";
}

int main(int argc, char** argv) {
  const common::Arguments arguments(argc, argv);
  if (arguments.mode == "bench") {
    asyncio::run(measure(arguments.port));
  } else if (arguments.mode == "killed") {
    asyncio::run(ask_until_killed(arguments.port));
  } else if (arguments.mode == "cancel") {
    asyncio::run(cancel_at_random(arguments.port));
  } else {
    asyncio::run(demonstrate(arguments.port));
  }
}
