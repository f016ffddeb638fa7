#include <fiber/asyncio/detail/coroutine_name.hpp>

#include <fiber/core/symbols.hpp>
#include <fiber/core/type.hpp>
#include <fiber/demangle.hpp>

#include <array>
#include <cstdio>
#include <string_view>
#include <utility>

namespace fiber::asyncio::detail {
namespace {

// Returns the end of the template arguments (or parameters) that open at `open`, or npos.
std::size_t closing(std::string_view text, std::size_t open) {
  int depth = 0;
  for (std::size_t at = open; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '<' || c == '(' || c == '{' || c == '[') ++depth;
    // "->" closes nothing.
    if ((c == '>' && text[at - 1] != '-') || c == ')' || c == '}' || c == ']')
      if (--depth == 0) return at;
  }
  return std::string_view::npos;
}

// Returns the argument of that number in "name<A, B>…", or "".
std::string_view argument(std::string_view text, std::size_t open, int number) {
  const std::size_t end = closing(text, open);
  if (end == std::string_view::npos) return {};
  std::size_t begin = open + 1;
  int depth = 0;
  for (std::size_t at = open + 1; at <= end; ++at) {
    const char c = text[at];
    if (depth == 0 && (at == end || c == ',')) {
      if (number-- == 0) {
        std::string_view found = text.substr(begin, at - begin);
        while (found.starts_with(' ')) found.remove_prefix(1);
        while (found.ends_with(' ')) found.remove_suffix(1);
        return found;
      }
      begin = at + 1;
    }
    if (c == '<' || c == '(' || c == '{' || c == '[') ++depth;
    if ((c == '>' && text[at - 1] != '-') || c == ')' || c == '}' || c == ']') --depth;
  }
  return {};
}

constexpr std::string_view kLibrary = "fiber::";

// The library's wrappers of callables, and which template argument the callable is.
constexpr std::array<std::pair<std::string_view, int>, 3> kWrappers{{
    {"fiber::asyncio::detail::CoroutineFunction<", 0},
    {"fiber::asyncio::detail::Deferred<", 0},
    {"fiber::asyncio::detail::as_coroutine<", 0},
}};

// Returns the name without a function's parameters and the text after them.
std::string_view without_parameters(std::string_view name) {
  for (std::size_t at = 0; at < name.size(); ++at) {
    if (name[at] == '(' && name.substr(at).starts_with("(anonymous namespace)")) {
      at += std::string_view("(anonymous namespace)").size() - 1;
    } else if (name[at] == '(' && !name.substr(0, at).ends_with("operator")) {
      return name.substr(0, at);
    } else if (name[at] == '<' || name[at] == '{') {
      const std::size_t end = closing(name, at);
      if (end == std::string_view::npos) return name;
      at = end;
    }
  }
  return name;
}

std::string readable(std::string_view name) {
  for (bool found = true; found;) {
    found = false;
    for (const auto& [wrapper, number] : kWrappers) {
      if (!name.starts_with(wrapper)) continue;
      const std::string_view inner = argument(name, wrapper.size() - 1, number);
      if (inner.empty()) continue;
      name = inner;
      found = true;
    }
  }
  // Users know the library's functions, not the lambdas inside: "Lock::acquire".
  if (!name.starts_with(kLibrary)) return std::string(name);
  name = without_parameters(name);
  for (const std::string_view space : {"fiber::", "asyncio::"})
    if (name.starts_with(space)) name.remove_prefix(space.size());
  return std::string(name);
}

}  // namespace

std::string CoroutineName::str() const {
  switch (kind) {
    case Kind::text: return static_cast<const char*>(data);
    case Kind::type: return readable(core::demangle(static_cast<const char*>(data)));
    case Kind::signature: return readable(core::name_in_signature(static_cast<const char*>(data)));
    case Kind::function: break;
  }
  const core::Symbol symbol = core::find_symbol(data);
  if (!symbol.name.empty()) return std::string(without_parameters(symbol.name));
  char place[32];
  std::snprintf(place, sizeof place, "+0x%zx", symbol.offset);
  return (symbol.object.empty() ? "?" : symbol.object) + place;
}

std::string callable_in(const std::string& symbol) {
  constexpr std::string_view kCaller = "fiber::asyncio::detail::CallableTask<";
  if (!symbol.starts_with(kCaller)) return "";
  const std::size_t end = closing(symbol, kCaller.size() - 1);
  if (end == std::string::npos || symbol.compare(end + 1, 8, "::call()") != 0) return "";
  return readable(argument(symbol, kCaller.size() - 1, 1));
}

}  // namespace fiber::asyncio::detail
