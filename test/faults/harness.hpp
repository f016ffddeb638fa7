// What each scenario of the suite is made of; see README.md.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace faults {

// It is run in a child process, several times. What it may throw is what is documented of the
// features that it uses: the library's exceptions and std::bad_alloc. Wrong ends it by a
// std::logic_error.
struct Scenario {
  const char* name;
  void (*run)();
  void (*prepare)() = nullptr;  // in the parent, once: a server, what a library does once only
};

std::vector<Scenario>& scenarios();

struct Register {
  Register(const char* name, void (*run)(), void (*prepare)() = nullptr) {
    scenarios().push_back({name, run, prepare});
  }
};
// FAULTS_SCENARIO(name) { ... } or FAULTS_SCENARIO(name, prepare) { ... }
#define FAULTS_SCENARIO(name, ...)                                                         \
  static void name();                                                                      \
  static const faults::Register registered_##name(#name, name __VA_OPT__(, ) __VA_ARGS__); \
  static void name()

// What must hold whatever has failed.
inline void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

}  // namespace faults
