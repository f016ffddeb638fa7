#include <fiber/asyncio/environment.hpp>

namespace fiber::asyncio::subprocess {

Environment::Environment(std::initializer_list<Variable> variables) {
  for (const auto& [name, value] : variables) set(name, value);
}

void Environment::set(std::string name, std::string value) {
  for (Variable& each : variables_) {
    if (each.first != name) continue;
    each.second = std::move(value);
    return;
  }
  variables_.emplace_back(std::move(name), std::move(value));
}

}  // namespace fiber::asyncio::subprocess
