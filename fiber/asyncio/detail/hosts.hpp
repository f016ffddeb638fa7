// The host, or the hosts, at which a server listens, as a caller may write them.
#pragma once

#include <concepts>
#include <string>
#include <utility>
#include <vector>

namespace fiber::asyncio::detail {

/// A list in braces has no type: the functions that take hosts name std::vector<std::string> for it.
template <class T>
concept hosts =
    std::convertible_to<T, std::string> || std::convertible_to<T, std::vector<std::string>>;

template <hosts T>
std::vector<std::string> list_of_hosts(T given) {
  if constexpr (std::convertible_to<T, std::vector<std::string>>) {
    return given;
  } else {
    std::vector<std::string> list;
    list.push_back(std::move(given));
    return list;
  }
}

}  // namespace fiber::asyncio::detail
