// The environment variables of a child process, made of any container of pairs of strings.
#pragma once

#include <fiber/config.hpp>

#include <concepts>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace fiber::asyncio::subprocess {

/// The names and values of a child process's environment. Made of any range of pairs of strings,
/// such as a std::map. The last value of a repeated name counts, as in a dict display of Python's.
/// A name or value that no environment can hold makes the start of the process throw ValueError.
class FIBER_API Environment {
 public:
  using Variable = std::pair<std::string, std::string>;  ///< name and value

  Environment() = default;
  Environment(std::initializer_list<Variable> variables);
  template <class Range>
    requires(!std::same_as<std::remove_cvref_t<Range>, Environment> &&
             requires(const Range& range) {
               { range.begin()->first } -> std::convertible_to<std::string>;
               { range.begin()->second } -> std::convertible_to<std::string>;
             })
  Environment(const Range& variables) {  // NOLINT(google-explicit-constructor): a std::map is one
    for (const auto& [name, value] : variables) set(name, value);
  }

  /// Replaces the value of a variable, or adds it.
  void set(std::string name, std::string value);

  auto begin() const noexcept { return variables_.begin(); }  ///< the variables in their order
  auto end() const noexcept { return variables_.end(); }      ///< behind the last one

 private:
  std::vector<Variable> variables_;
};

}  // namespace fiber::asyncio::subprocess
