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
};

std::vector<Scenario>& scenarios();

struct Register {
  Register(const char* name, void (*run)()) { scenarios().push_back({name, run}); }
};
#define FAULTS_SCENARIO(name)                                   \
  static void name();                                           \
  static const faults::Register registered_##name(#name, name); \
  static void name()

// What must hold whatever has failed.
inline void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

}  // namespace faults
