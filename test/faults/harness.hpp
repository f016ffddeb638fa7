// The parts of each scenario of the suite; see README.md.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace faults {

// A scenario runs in a child process, several times. It may throw the documented exceptions of the
// features that it uses: the library's, and std::bad_alloc. A std::logic_error means that it is
// wrong.
struct Scenario {
  const char* name;
  void (*run)();
  void (*prepare)() = nullptr;  // in the parent, once: a server, the first use of a library
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

// Throws if a condition does not hold that must hold after any fault.
inline void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

}  // namespace faults
