// print(1, "two") writes "1 two", as Python's print does, and flushes.
#pragma once

#include <fiber/exceptions.hpp>

#include <concepts>
#include <cstdio>
#include <cstdlib>
#include <ostream>
#include <ranges>
#include <sstream>
#include <string>
#include <string_view>

namespace print_detail {

template <class T>
void write(std::ostream& out, const T& item) {
  if constexpr (std::convertible_to<const T&, std::string_view>) {
    out << std::string_view(item);
  } else if constexpr (requires { item.has_value(), item.exception(); }) {
    if (item.has_value())
      write(out, item.value());
    else
      out << fiber::repr(item.exception());
  } else if constexpr (std::ranges::input_range<const T&>) {
    out << '[';
    const char* separator = "";
    for (const auto& element : item) {
      out << separator;
      write(out, element);
      separator = ", ";
    }
    out << ']';
  } else {
    out << item;
  }
}

// A full disk is known at the latest here, when the program has ended.
struct CheckedAtExit {
  ~CheckedAtExit() {
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
    std::fputs("the output could not be written\n", stderr);
    std::_Exit(1);
  }
};
inline const CheckedAtExit checked_at_exit;

}  // namespace print_detail

// Prints the arguments with a space between them, lists in brackets, gathered exceptions as Python
// does. One write for the whole line, so that lines of several threads do not mix.
template <class... Items>
void print(const Items&... items) {
  std::ostringstream line;
  const char* separator = "";
  ((line << separator, print_detail::write(line, items), separator = " "), ...);
  line << '\n';
  const std::string text = line.str();
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}
