// The interface of no_rtti.cpp, which is compiled with -fno-rtti; no_rtti_test.cpp has RTTI.
#pragma once

#include <fiber/generator.hpp>
#include <fiber/greenlet.hpp>

#include <string>
#include <vector>

namespace no_rtti {

struct Point {
  int x, y;
};

// Return the events of each part, one line each.
std::vector<std::string> greenlets();
std::vector<std::string> generators();
std::vector<std::string> tasks();

// Returns a greenlet that waits for a Point and answers with its sum; it throws for any other
// value.
fiber::greenlet adder();
fiber::value a_point();
fiber::Generator<Point> points();

}  // namespace no_rtti
