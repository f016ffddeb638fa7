// Declarations that the README's examples assume.
#pragma once

#include <algorithm>
#include <chrono>
#include <iostream>
#include <ranges>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

inline int failures = 0;
inline std::string said;

template <class T>
void say(const T& what) {
  std::ostringstream text;
  text << what;
  said += (said.empty() ? "" : " ") + text.str();
}

template <class T, class U>
void expect(const T& seen, const U& expected) {
  if (seen == expected) return;
  std::cerr << "expected " << expected << ", seen " << seen << "\n";
  ++failures;
}
inline void expect_said(const std::string& expected) { expect(std::exchange(said, {}), expected); }

struct Connection {
  int read() { return 1; }
};
struct Cleanup {
  Cleanup() = default;
  ~Cleanup() { said += "cleaned up"; }
};
