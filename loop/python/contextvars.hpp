// Variables whose value depends on the callback or task that runs. Upstream counterpart: Python/context.c, the module
// contextvars.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "loop/python/builtins.hpp"
#include "loop/python/memory.hpp"

namespace asyncio {

/// The value of a variable in a context.
struct ContextValue : Counted {
  virtual Ref<ContextValue> clone() const = 0;
};

/// The object behind a Context: the values of the variables that were set in it. Copies share the map until a variable
/// is set in one of them.
struct ContextState : Counted {
  using Values = std::map<std::uint64_t, Ref<ContextValue>>;
  explicit ContextState(std::shared_ptr<const Values> shared = nullptr) : values(std::move(shared)) {}
  std::shared_ptr<const Values> values;
  bool entered = false;  // some thread runs in it now
};

/// The current context of this thread; null until a variable is set.
inline constinit thread_local ContextState* current_context = nullptr;

/// A snapshot of the current context, or null if there is none. Every handle is created with one; this costs nothing in
/// a program without context variables.
inline Ref<ContextState> copy_current_context() {
  return current_context ? make_ref<ContextState>(current_context->values) : nullptr;
}

/// Makes `context` the current one while this object lives. What is set meanwhile stays in that context.
/// asyncio: context.c PyContext_Enter
class EnterContext {
 public:
  explicit EnterContext(Ref<ContextState>& context) noexcept
      : context_(context), previous_(std::exchange(current_context, context.detach())) {
    if (current_context) was_entered_ = std::exchange(current_context->entered, true);
  }
  EnterContext(const EnterContext&) = delete;
  EnterContext& operator=(const EnterContext&) = delete;
  ~EnterContext() {
    if (current_context) current_context->entered = was_entered_;
    context_ = Ref<ContextState>::adopt(std::exchange(current_context, previous_));
  }

 private:
  Ref<ContextState>& context_;
  ContextState* previous_;
  bool was_entered_ = false;
};

/// A reference to a context, empty by default. Only for the thread that made it. asyncio: contextvars.Context
class Context {
 public:
  Context() : state_(make_ref<ContextState>()) {}
  explicit Context(Ref<ContextState> state) : state_(std::move(state)) {}
  /// Calls f() in this context; what f sets stays in it. RuntimeError if it is already entered.
  /// asyncio: contextvars.Context.run
  template <class F> decltype(auto) run(F&& f) {
    if (state_->entered) throw RuntimeError("cannot enter context: it is entered already");
    Ref<ContextState> state = state_;
    const EnterContext entered(state);
    return std::forward<F>(f)();
  }
  const Ref<ContextState>& state() const noexcept { return state_; }

 private:
  Ref<ContextState> state_;
};

/// A snapshot of the current context. asyncio: contextvars.copy_context
inline Context copy_context() {
  Ref<ContextState> copy = copy_current_context();
  return copy ? Context(std::move(copy)) : Context();
}

/// The same for another thread. The values are copied, too, because reference counts are not atomic.
Context copy_context_for_thread();

/// The value before ContextVar::set, which returns it; for reset(). asyncio: contextvars.Token
class Token {
 public:
  Token(std::uint64_t id, Ref<ContextValue> old_value) : state_(make_ref<State>(id, std::move(old_value))) {}

 private:
  template <class T> friend class ContextVar;
  struct State : Counted {
    State(std::uint64_t id, Ref<ContextValue> old)
        : variable(id), old_value(std::move(old)), context(current_context) {}
    std::uint64_t variable;
    Ref<ContextValue> old_value;  // null: it had no value
    Ref<ContextState> context;
    bool used = false;
  };
  Ref<State> state_;
};

std::uint64_t new_variable_id() noexcept;
Ref<ContextValue> context_get(std::uint64_t variable);
Ref<ContextValue> context_set(std::uint64_t variable, Ref<ContextValue> value);

/// A variable that has its own value in each context. asyncio: contextvars.ContextVar
template <class T> class ContextVar {
 public:
  explicit ContextVar(std::string name) : name_(std::move(name)) {}
  ContextVar(std::string name, T default_value) : name_(std::move(name)), default_(std::move(default_value)) {}
  ContextVar(const ContextVar&) = delete;
  ContextVar& operator=(const ContextVar&) = delete;

  const std::string& name() const noexcept { return name_; }
  /// The value in the current context, else the default. KeyError if there is neither.
  /// asyncio: contextvars.ContextVar.get
  T get() const {
    if (const Ref<ContextValue> value = context_get(id_)) return static_cast<Box&>(*value).value;
    if (!default_) throw KeyError("the context variable '" + name_ + "' has no value here");
    return *default_;
  }
  /// Sets the value in the current context. asyncio: contextvars.ContextVar.set
  Token set(T value) { return Token(id_, context_set(id_, make_ref<Box>(std::move(value)))); }
  /// Restores the value before set(). ValueError for a token of another variable or context, RuntimeError for one that
  /// was already used. asyncio: contextvars.ContextVar.reset
  void reset(const Token& token) {
    Token::State& state = *token.state_;
    if (state.used) throw RuntimeError("the Token has already been used once");
    if (state.variable != id_) throw ValueError("the Token was created by a different ContextVar");
    if (state.context.get() != current_context) throw ValueError("the Token was created in a different Context");
    state.used = true;
    context_set(id_, state.old_value);
  }

 private:
  struct Box : ContextValue {
    explicit Box(T boxed) : value(std::move(boxed)) {}
    Ref<ContextValue> clone() const override { return make_ref<Box>(value); }
    T value;
  };
  const std::uint64_t id_ = new_variable_id();
  std::string name_;
  std::optional<T> default_;
};

}  // namespace asyncio
