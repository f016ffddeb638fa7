// Code that is compiled with -fno-rtti uses fibers, and shares them with code that is not.
#include "environments/no_rtti.hpp"

#include <doctest/doctest.h>

#include "support/events.hpp"

using no_rtti::Point;
using Lines = std::vector<std::string>;

TEST_CASE("greenlets carry values and exceptions, and errors name the types") {
  CHECK(
      no_rtti::greenlets() ==
      Lines{
          "42", "a value of type 'std::string' was expected, but one of type 'int' was sent",
          "a value of type 'unsigned long' was expected, but one of type 'std::string' was sent",
          "a value of type 'no_rtti::Point*' was expected, but one of type 'std::string' was sent",
          "a value of type 'no_rtti::Point' was expected, but nothing was sent", "caught mine",
          "thrown in"});
}

TEST_CASE("generators and tasks") {
  CHECK(no_rtti::generators() == Lines{"ab"});
  CHECK(no_rtti::tasks() == Lines{"1 two", "3", "in a task", "removed 1", "cancelled"});
}

TEST_CASE("values pass between both kinds of code") {
  CHECK(no_rtti::adder().switch_(Point{1, 2}).as<int>() == 3);
  fiber::value point = no_rtti::a_point();
  CHECK(point.holds<Point>());
  CHECK_FALSE(point.holds<int>());
  CHECK(point.as<Point>().y == 4);
  CHECK(support::thrown_by([&] { point.as<long>(); }) ==
        "TypeError(\"a value of type 'long' was expected, but one of type 'no_rtti::Point' was "
        "sent\")");
  int sum = 0;
  CHECK_THROWS_WITH_AS(
      [&] {
        for (const Point& p : no_rtti::points()) sum += p.x + p.y;
      }(),
      "no more points", fiber::Exception);
  CHECK(sum == 3);
}
