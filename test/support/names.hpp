// Reports name lambdas as the compiler does, which differs between compilers.
#pragma once

#include <algorithm>
#include <string>

namespace support {

// Returns the text with "lambda" in place of the name of each coroutine made of a lambda.
inline std::string short_names(std::string text) {
  for (const std::string& mark : {std::string("coro=<"), std::string("coroutine '")}) {
    for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) {
      const std::size_t begin = at + mark.size();
      std::size_t stop = text.find(mark == "coro=<" ? "() running" : "'", begin);
      if (mark == "coro=<") stop = std::min(stop, text.find("() done", begin));
      if (stop == std::string::npos) continue;
      const std::string name = text.substr(begin, stop - begin);
      if (name.find("lambda") != std::string::npos || name.find("$_") != std::string::npos)
        text.replace(begin, stop - begin, "lambda");
    }
  }
  return text;
}

// Returns the text without the places where coroutines were dropped.
inline std::string without_drops(std::string text) {
  for (std::size_t at; (at = text.find("\n  dropped at ")) != std::string::npos;)
    text.erase(at, std::min(text.find_first_of("\n|", at + 1), text.size()) - at);
  return text;
}

}  // namespace support
