// The operations of the language, by name.
#pragma once

#include "tests/differential/interpreter.hpp"

namespace differential {

using SyncOperation = std::string (*)(Interpreter&, Activation&, const Words&);
using AwaitOperation = asyncio::Coroutine<std::string> (*)(Interpreter&, Activation&, const Words&);

/// std::invalid_argument if there is none.
SyncOperation sync_operation(const std::string& name);
AwaitOperation await_operation(const std::string& name);

/// std::invalid_argument if an operation of the program does not exist.
void validate(const std::vector<Op>& ops);

/// The operations of the outside world, in world.cpp.
extern const std::unordered_map<std::string, SyncOperation> WORLD_SYNC;
extern const std::unordered_map<std::string, AwaitOperation> WORLD_AWAIT;
/// The descriptor that a number or the name of a socket stands for.
int descriptor(Interpreter& interpreter, const std::string& word);

/// "-" if the program gave it none.
std::string given_name(const asyncio::AnyTask& task);

/// "none" is nullopt.
std::optional<double> seconds(const std::string& text);

}  // namespace differential
