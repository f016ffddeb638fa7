// The results of tasks and statements of a scenario, and their text in a trace.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace differential {

struct Value;
using List = std::vector<Value>;

// None, a truth value, a number, a word (shown without quotes), a list or an exception.
struct Value
    : std::variant<std::monostate, bool, std::int64_t, std::string, List, std::exception_ptr> {
  using variant::variant;
  Value(int number) : variant(std::int64_t{number}) {}                       // NOLINT
  Value(const char* word) : variant(std::string(word)) {}                    // NOLINT
  Value(std::size_t number) : variant(static_cast<std::int64_t>(number)) {}  // NOLINT
};

std::string show(const Value& value);

// Returns Type(message); groups list their members; text between < and > is left out.
std::string show_error(const std::exception_ptr& error);

}  // namespace differential
