#include "value.hpp"

#include <fiber/exceptiongroup.hpp>

namespace differential {
namespace {

// Drops every balanced <...>: the text between is an address or a repr(), which differ by run.
std::string without_reprs(const std::string& text) {
  std::string kept;
  int depth = 0;
  for (char character : text) {
    if (character == '<')
      ++depth;
    else if (character == '>' && depth > 0)
      --depth;
    else if (depth == 0)
      kept.push_back(character);
  }
  return kept;
}

template <class Items, class Show>
std::string joined(const Items& items, Show show_item) {
  std::string text;
  for (const auto& item : items) {
    if (!text.empty()) text += ' ';
    text += show_item(item);
  }
  return text;
}

}  // namespace

std::string show(const Value& value) {
  if (auto* truth = std::get_if<bool>(&value)) return *truth ? "True" : "False";
  if (auto* number = std::get_if<std::int64_t>(&value)) return std::to_string(*number);
  if (auto* word = std::get_if<std::string>(&value)) return *word;
  if (auto* list = std::get_if<List>(&value)) return "[" + joined(*list, show) + "]";
  if (auto* error = std::get_if<std::exception_ptr>(&value)) return show_error(*error);
  return "None";
}

std::string show_error(const std::exception_ptr& error) {
  if (!error) return "None";
  try {
    std::rethrow_exception(error);
  } catch (const fiber::AnyExceptionGroup& group) {
    return fiber::type_name(error) + "(" + joined(group.exceptions(), show_error) + ")";
  } catch (...) {
    return fiber::type_name(error) + "(" + without_reprs(fiber::str(error)) + ")";
  }
}

}  // namespace differential
