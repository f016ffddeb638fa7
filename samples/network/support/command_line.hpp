// Arguments, --help and the last word of the programs of this folder.
#pragma once

#include <fiber/exceptions.hpp>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <exception>
#include <initializer_list>
#include <iostream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace command_line {

// The arguments make no sense: the program prints the reason, and ends with status 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Names = std::initializer_list<std::string_view>;

// --name VALUE, --name=VALUE, --flag, and the rest in order.
class Arguments {
 public:
  Arguments(int argc, char** argv, Names with_value, Names flags = {}) {
    for (int at = 1; at < argc; ++at) {
      const std::string_view word = argv[at];
      const std::string_view name = word.substr(0, word.find('='));
      if (!word.starts_with("--")) {
        rest.emplace_back(word);
      } else if (std::ranges::find(flags, word) != flags.end()) {
        values_.emplace(word, "");
      } else if (std::ranges::find(with_value, name) == with_value.end()) {
        throw UsageError("unknown option " + std::string(name));
      } else if (name.size() < word.size()) {
        values_.emplace(name, word.substr(name.size() + 1));
      } else if (++at < argc) {
        values_.emplace(name, argv[at]);
      } else {
        throw UsageError("option " + std::string(name) + " needs a value");
      }
    }
  }
  bool has(const std::string& name) const { return values_.contains(name); }
  std::optional<std::string> get(const std::string& name) const {
    const auto found = values_.find(name);
    if (found == values_.end()) return std::nullopt;
    return found->second;
  }
  std::string get(const std::string& name, std::string otherwise) const {
    return get(name).value_or(std::move(otherwise));
  }
  std::vector<std::string> all(const std::string& name) const {
    std::vector<std::string> found;
    const auto [first, last] = values_.equal_range(name);
    for (auto at = first; at != last; ++at) found.push_back(at->second);
    return found;
  }

  std::vector<std::string> rest;

 private:
  std::multimap<std::string, std::string> values_;
};

inline int number(std::string_view text, std::string_view what, int least, int most) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most)
    throw UsageError(std::string(what) + " must be a number from " + std::to_string(least) +
                     " to " + std::to_string(most) + ", not '" + std::string(text) + "'");
  return value;
}
inline int port(std::string_view text) { return number(text, "a port", 0, 65535); }

// "host", "host:25", "::1", "[::1]:25".
inline std::pair<std::string, int> host_and_port(const std::string& text, int usual_port) {
  const std::size_t colon = text.rfind(':');
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string::npos) throw UsageError("']' is missing in " + text);
    if (end + 1 == text.size()) return {text.substr(1, end - 1), usual_port};
    if (colon != end + 1) throw UsageError("a port is expected behind ']' in " + text);
    return {text.substr(1, end - 1), port(text.substr(colon + 1))};
  }
  if (colon == std::string::npos || text.find(':') != colon) return {text, usual_port};
  return {text.substr(0, colon), port(text.substr(colon + 1))};
}

// The main function of a program: `body` returns its status.
template <class Body>
int run(int argc, char** argv, const char* usage, Body body) {
  const std::string name = std::string(argv[0]).substr(std::string(argv[0]).rfind('/') + 1);
  try {
    for (int at = 1; at < argc; ++at)
      if (argv[at] == std::string_view("--help") || argv[at] == std::string_view("-h")) {
        std::cout << usage;
        return 0;
      }
    const int status = body();
    // A full disk shows at the latest here.
    if (!std::cout.flush()) throw std::runtime_error("the output could not be written");
    return status;
  } catch (const UsageError& error) {
    std::cerr << name << ": " << error.what() << "\nTry " << name << " --help\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << name << ": " << error.what() << '\n';
    return 1;
  } catch (const fiber::KeyboardInterrupt&) {
    return 130;
  }
}

}  // namespace command_line
