// What no_rtti.cpp, which is compiled with -fno-rtti, gives to no_rtti_test.cpp, which is not.
#pragma once

#include <fiber/generator.hpp>
#include <fiber/greenlet.hpp>

#include <string>
#include <vector>

namespace no_rtti {

struct Point {
  int x, y;
};

// What happened, one line each.
std::vector<std::string> greenlets();
std::vector<std::string> generators();
std::vector<std::string> tasks();

// Waits for a Point, and answers with its sum; throws what is sent otherwise.
fiber::greenlet adder();
fiber::value a_point();
fiber::Generator<Point> points();

}  // namespace no_rtti
