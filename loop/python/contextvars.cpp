#include "loop/python/contextvars.hpp"

namespace asyncio {

std::uint64_t new_variable_id() noexcept {
  static constinit std::atomic<std::uint64_t> last = 0;
  return ++last;
}

Ref<ContextValue> context_get(std::uint64_t variable) {
  if (!current_context || !current_context->values) return nullptr;
  const auto found = current_context->values->find(variable);
  return found == current_context->values->end() ? nullptr : found->second;
}

// Copies the map, because snapshots share it. Contexts hold few variables.
Ref<ContextValue> context_set(std::uint64_t variable, Ref<ContextValue> value) {
  static thread_local Finally at_thread_end([] { Ref<ContextState>::adopt(std::exchange(current_context, nullptr)); });
  if (!current_context) current_context = make_ref<ContextState>().detach();
  Ref<ContextValue> old = context_get(variable);
  auto values = current_context->values ? *current_context->values : ContextState::Values();
  if (value) {
    values[variable] = std::move(value);
  } else {
    values.erase(variable);
  }
  current_context->values = std::make_shared<const ContextState::Values>(std::move(values));
  return old;
}

Context copy_context_for_thread() {
  const Context copy;
  if (!current_context || !current_context->values) return copy;
  auto values = std::make_shared<ContextState::Values>();
  for (const auto& [variable, value] : *current_context->values) values->emplace(variable, value->clone());
  copy.state()->values = std::move(values);
  return copy;
}

}  // namespace asyncio
