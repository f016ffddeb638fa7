// Structures of options of <fiber/fiber.h>, which begin with their size: programs that were
// compiled with an earlier header give fewer members than the library knows, and programs that were
// compiled with a later one give more.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace fiber::c {

// Copies the members that the program has given to `known`, whose other members stay unchanged.
// Returns the text of an error, or null. `members` are all members but the size.
template <class Options, class... Members>
const char* read_options(const Options* given, Options& known, Members Options::*... members) {
  if (given == nullptr) return nullptr;
  constexpr std::size_t kMost = 1024;
  const std::size_t size = given->size;
  const auto is_end = [&](auto member) {
    const auto* begin = reinterpret_cast<const char*>(&known);
    return size ==
           static_cast<std::size_t>(reinterpret_cast<const char*>(&(known.*member) + 1) - begin);
  };
  const bool is_known = size == sizeof known || is_end(&Options::size) || (is_end(members) || ...);
  const bool is_later = size > sizeof known && size <= kMost && size % alignof(Options) == 0;
  if (!is_known && !is_later)
    return "the size in the options is wrong: it must be the sizeof of their struct";
  const auto* bytes = reinterpret_cast<const char*>(given);
  if (is_later &&
      !std::all_of(bytes + sizeof known, bytes + size, [](char byte) { return byte == 0; }))
    return "the options ask for more than this version of the library knows: members that it does "
           "not know must be zero";
  std::memcpy(&known, given, std::min(size, sizeof known));
  return nullptr;
}

}  // namespace fiber::c
