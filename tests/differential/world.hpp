// The outside world of a program: sockets, transports, streams, servers, executors. What its operations do is in world.cpp.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "asyncio.hpp"

namespace differential {

/// What a name of the outside world stands for: a socket, a transport, a stream …
struct WorldObject {
  virtual ~WorldObject() = default;
};

/// Runs nothing: the program says when a call has returned.
class ScriptedExecutor : public asyncio::Executor {
 public:
  void submit(std::shared_ptr<asyncio::WorkItem> item) override { submitted = std::move(item); }
  void shutdown(bool) override {}

  std::shared_ptr<asyncio::WorkItem> submitted;  // the last one
};

/// A call that the executor was given. `outcome` is called in its place.
struct ScriptedCall {
  std::shared_ptr<asyncio::WorkItem> item;
  std::shared_ptr<std::function<int()>> outcome;
};

struct World {
  ScriptedExecutor executor;
  std::map<std::string, ScriptedCall> calls;
  std::vector<std::shared_ptr<WorldObject>> objects;  // all live as long as the program, as in the twin
  std::set<int> signals;                              // those that have a handler
  int servers = 0;                                    // how many there were: each has a path of its own
  int clients = 0;                                    // of all servers, so far
};

}  // namespace differential
