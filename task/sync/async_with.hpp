// `async with`. Upstream counterpart: the statement, as Python/compile.c compiles it.
#pragma once

#include <optional>
#include <type_traits>
#include <utility>

#include "task/tasks.hpp"

namespace asyncio {

/// Calls the body with `value`, or without an argument if it takes none.
template <class Body, class Value> auto call_body(Body& body, Value& value) {
  if constexpr (std::is_invocable_v<Body&, Value&>) {
    return body(value);
  } else {
    return body();
  }
}

template <class Manager> using Entered = typename decltype(std::declval<Manager&>().aenter())::value_type;
template <class Manager, class Body> using BodyResult = typename decltype(call_body(
    std::declval<Body&>(),
    std::declval<
        std::conditional_t<std::is_void_v<Entered<Manager>>, Manager, Stored<Entered<Manager>>>&>()))::value_type;

template <class Manager, class Value> auto& given_to_body(Manager&, std::optional<Value>& value) { return *value; }
template <class Manager> Manager& given_to_body(Manager& manager, std::optional<NoneType>&) { return manager; }

/// Awaits manager.aenter(), then the body, then manager.aexit(exception or null). The body gets what aenter() returned,
/// or the manager if that was void. If aexit() returns true, the exception is swallowed and R{} is returned instead of
/// the body's value. An lvalue manager is held by reference. asyncio: compile.c codegen_async_with
template <class Manager, class Body, class R = BodyResult<std::remove_reference_t<Manager>, Body>>
Coroutine<R> async_with_(Manager manager, Body body) {
  std::optional<Stored<Entered<std::remove_reference_t<Manager>>>> value;
  std::exception_ptr exception;
  std::optional<Stored<R>> result;
  if constexpr (std::is_void_v<Entered<std::remove_reference_t<Manager>>>)
    co_await manager.aenter();
  else
    value.emplace(co_await manager.aenter());
  try {
    if constexpr (std::is_void_v<R>)
      co_await call_body(body, given_to_body(manager, value));
    else
      result.emplace(co_await call_body(body, given_to_body(manager, value)));
  } catch (...) {
    exception = std::current_exception();
  }
  bool swallowed = false;
  if constexpr (requires { manager.release_at_exit(); })
    manager.release_at_exit();
  else
    swallowed = co_await manager.aexit(exception);
  if (exception && !swallowed) std::rethrow_exception(exception);
  if constexpr (!std::is_void_v<R>) {
    if (result) co_return *std::move(result);
    if constexpr (std::is_default_constructible_v<R>) co_return R{};
    throw RuntimeError("async_with: the exception was swallowed, and there is no value to return instead");
  }
}

/// The public form: `co_await async_with(manager, body)`; the body is a callable that returns a Coroutine. A manager
/// that is an lvalue must outlive the await; an rvalue is moved in.
template <class Manager, class Body> auto async_with(Manager&& manager, Body body) {
  return async_with_<Manager, Body>(std::forward<Manager>(manager), std::move(body));
}

}  // namespace asyncio
