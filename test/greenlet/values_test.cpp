#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <memory>
#include <thread>
#include <tuple>
#include <type_traits>

#include "support/events.hpp"

using fiber::getcurrent;
using fiber::greenlet;
using fiber::value;
using support::Events;
using support::thrown_by;
using support::to_parent;

namespace {

// Counts how often it was copied, moved and destroyed.
struct Counted {
  static inline int copies = 0, alive = 0;
  static inline std::vector<std::thread::id> destroyed_in = {};
  explicit Counted(int number) : number(number) { ++alive; }
  Counted(const Counted& other) : number(other.number) {
    ++alive;
    ++copies;
  }
  Counted(Counted&& other) noexcept : number(std::exchange(other.number, 0)) { ++alive; }
  Counted& operator=(const Counted&) = delete;
  ~Counted() {
    --alive;
    if (number != 0) destroyed_in.push_back(std::this_thread::get_id());
  }
  int number;
  std::array<char, 64> large{};
};

}  // namespace

TEST_CASE("a suspended greenlet gets the value that it is resumed with") {
  const greenlet g([] { return to_parent().as<std::string>() + "!"; });
  g.switch_();
  CHECK(g.switch_("hello").as<std::string>() == "hello!");
}

TEST_CASE("sending nothing and sending a null value are different") {
  std::vector<bool> empty;
  const greenlet g([&] {
    empty.push_back(to_parent().empty());
    value null = to_parent();
    empty.push_back(null.empty());
    CHECK(null.as<int*>() == nullptr);
    CHECK(to_parent().as<std::nullptr_t>() == nullptr);
  });
  g.switch_();
  g.switch_();
  g.switch_(static_cast<int*>(nullptr));
  g.switch_(nullptr);
  CHECK(empty == std::vector<bool>{true, false});
  CHECK(g.dead());
}

TEST_CASE("several values arrive as one tuple; a single tuple is neither wrapped nor unpacked") {
  std::vector<std::string> types;
  const greenlet g([&] {
    CHECK(to_parent().as<std::tuple<int, std::string>>() == std::tuple(1, std::string("a")));
    CHECK(to_parent().as<std::tuple<int>>() == std::tuple(2));
    CHECK(to_parent().as<std::tuple<>>() == std::tuple());
    CHECK(to_parent().as<std::tuple<std::tuple<int>, int>>() == std::tuple(std::tuple(3), 4));
  });
  g.switch_();
  g.switch_(1, "a");
  g.switch_(std::tuple(2));
  g.switch_(std::tuple());
  g.switch_(std::tuple(3), 4);
  CHECK(g.dead());
}

TEST_CASE("the parent sees exactly what a body returns") {
  CHECK(greenlet([] { return std::tuple(1, 2); }).switch_().as<std::tuple<int, int>>() ==
        std::tuple(1, 2));
  CHECK(greenlet([] { return std::tuple(); }).switch_().holds<std::tuple<>>());
  CHECK(greenlet([] {}).switch_().empty());
  CHECK(greenlet([] { return "text"; }).switch_().as<std::string>() == "text");
  CHECK(greenlet([] { return value(1.5); }).switch_().as<double>() == 1.5);
}

TEST_CASE("move-only and large values are moved through, never copied") {
  const greenlet g([](std::unique_ptr<int> started) {
    auto resumed = getcurrent().parent().switch_(std::move(started)).as<std::unique_ptr<int>>();
    ++*resumed;
    return resumed;
  });
  auto first = g.switch_(std::make_unique<int>(1)).as<std::unique_ptr<int>>();
  const int* address = first.get();
  auto second = g.switch_(std::move(first)).as<std::unique_ptr<int>>();
  CHECK(second.get() == address);
  CHECK(*second == 2);

  Counted::copies = 0;
  const greenlet large([](Counted started) {
    Counted resumed = getcurrent().parent().switch_(std::move(started)).as<Counted>();
    return resumed;
  });
  Counted back = large.switch_(Counted(3)).as<Counted>();
  CHECK(large.switch_(std::move(back)).as<Counted>().number == 3);
  CHECK(Counted::copies == 0);
}

TEST_CASE("a body takes references to what was sent, or the value of any type as it came") {
  CHECK(greenlet([](int& x) { return ++x; }).switch_(1).as<int>() == 2);
  CHECK(greenlet([](const std::string& s) { return s.size(); }).switch_("abc").as<std::size_t>() ==
        3);
  CHECK(greenlet([](const char* s, int n) { return s + n; }).switch_("abc", 1).as<std::string>() ==
        "bc");
  CHECK(greenlet([](const char* s) { return s; }).switch_("abc").as<std::string>() == "abc");
  CHECK(greenlet([](value v) { return v.empty(); }).switch_().as<bool>());
  CHECK(greenlet([](value v) { return v.as<int>(); }).switch_(4).as<int>() == 4);
  CHECK(greenlet([](auto... args) { return sizeof...(args); }).switch_().as<std::size_t>() == 1);
  const auto generic = [](auto&& v) { return v.template as<int>(); };
  CHECK(greenlet(generic).switch_(5).as<int>() == 5);
  int (*function)(int) = [](int x) { return -x; };
  CHECK(greenlet(function).switch_(6).as<int>() == -6);
}

TEST_CASE("references to objects that stay alive are sent as std::ref") {
  std::string text = "a";
  greenlet([](std::reference_wrapper<std::string> s) { s.get() += "b"; }).switch_(std::ref(text));
  CHECK(text == "ab");
}

TEST_CASE("arguments of the wrong type kill the body with a TypeError that names both types") {
  const auto refused = [](auto body, auto... args) {
    const greenlet g(body);
    const std::string text = thrown_by([&] { g.switch_(std::move(args)...); });
    CHECK(g.dead());
    return text;
  };
  CHECK(refused([](int) {}, 1.5) ==
        "TypeError(\"a value of type 'int' was expected, but one of type 'double' was sent\")");
  CHECK(refused([](int) {}) ==
        "TypeError(\"a value of type 'int' was expected, but nothing was sent\")");
  CHECK(refused([] {}, std::string("x")) ==
        "TypeError(\"the body of a greenlet takes no arguments, but one of type 'std::string' was "
        "sent\")");
  CHECK(
      refused([](int, int) {}, 1) ==
      "TypeError(\"a value of type 'std::tuple<int, int>' was expected, but one of type 'int' was "
      "sent\")");
}

TEST_CASE(
    "a result read as the wrong type is a TypeError, and can still be read as the right one") {
  value v = greenlet([] { return 1; }).switch_();
  CHECK(thrown_by([&] { (void)v.as<long>(); }) ==
        "TypeError(\"a value of type 'long' was expected, but one of type 'int' was sent\")");
  CHECK(v.get_if<long>() == nullptr);
  CHECK(*v.get_if<int>() == 1);
  CHECK(v.as<int>() == 1);
}

TEST_CASE("text that belongs to the sender arrives as a string of the receiver's own") {
  std::string name = "somebody";
  const greenlet g([] {
    value first = to_parent(), second = to_parent();
    to_parent();
    return first.as<std::string>() + " and " + second.as<std::string>();
  });
  g.switch_();
  g.switch_(std::string_view(name));
  g.switch_(name.c_str());
  name.assign(name.size(), '?');
  CHECK(g.switch_().as<std::string>() == "somebody and somebody");
  CHECK(greenlet([](value sent) { return sent.type_name(); })
            .switch_(std::string_view("text"))
            .as<std::string>() == "std::string");
}

TEST_CASE("the name of a type with text in it is as the type is written") {
  CHECK(value::pack(1, "a").type_name() == "std::tuple<int, std::string>");
  CHECK(value(std::tuple(1, std::string_view("a"))).type_name() ==
        "std::tuple<int, std::string_view>");
  using Nested = std::pair<std::pair<int, std::string>, std::string>;
  CHECK(value(Nested()).type_name().ends_with("std::pair<int, std::string>, std::string>"));
}

TEST_CASE("a body takes text as a string, a view or a pointer, whichever of them is sent") {
  const auto told = [](auto body) {
    std::string all;
    char letters[] = "pointed at";
    all += greenlet(body).switch_("literal").template as<std::string>() + ", ";
    all += greenlet(body).switch_(&letters[0]).template as<std::string>() + ", ";
    all += greenlet(body).switch_(std::string_view("view")).template as<std::string>() + ", ";
    all += greenlet(body).switch_(std::string("string")).template as<std::string>();
    return all;
  };
  const std::string expected = "literal, pointed at, view, string";
  CHECK(told([](std::string text) { return text; }) == expected);
  CHECK(told([](const std::string& text) { return text; }) == expected);
  CHECK(told([](std::string_view text) { return text; }) == expected);
  CHECK(told([](const std::string_view& text) { return text; }) == expected);
  CHECK(told([](const char* text) { return text; }) == expected);

  const greenlet two([](std::string_view a, int, const std::string_view& b) {
    to_parent();  // the views live as long as the body runs
    return std::string(a) + std::string(b);
  });
  two.switch_("more than fits into a short string ", 1, std::string_view("and more"));
  CHECK(two.switch_().as<std::string>() == "more than fits into a short string and more");

  CHECK(
      thrown_by([] { greenlet([](std::string_view) {}).switch_(1); }) ==
      "TypeError(\"a value of type 'std::string' was expected, but one of type 'int' was sent\")");
}

TEST_CASE("a GreenletExit that is returned is a value like any other") {
  value returned = greenlet([] { return fiber::GreenletExit("mine"); }).switch_();
  CHECK_FALSE(returned.exited());
  CHECK(returned.as<fiber::GreenletExit>().what() == std::string("mine"));
  value exited = greenlet([] { throw fiber::GreenletExit("mine"); }).switch_();
  CHECK(exited.exited());
  CHECK_FALSE(exited.holds<fiber::GreenletExit>());
}

TEST_CASE("arguments that reach nobody are destroyed once, in the caller") {
  Counted::destroyed_in.clear();
  const auto me = std::this_thread::get_id();
  {
    const greenlet dead([] {});
    dead.switch_();
    CHECK(dead.switch_(Counted(1)).as<Counted>().number == 1);

    CHECK_THROWS_AS(greenlet().switch_(Counted(2)), fiber::AttributeError);

    CHECK_THROWS_AS(greenlet([](int) {}).switch_(Counted(3)), fiber::TypeError);

    const greenlet foreign([] {});
    std::thread::id there;
    std::thread([&] {
      there = std::this_thread::get_id();
      CHECK_THROWS_AS(foreign.switch_(Counted(4)), greenlet::error);
      CHECK_THROWS_AS(foreign.switch_(Counted(5), Counted(6)), greenlet::error);
    }).join();
    CHECK(Counted::destroyed_in == std::vector<std::thread::id>{me, me, me, there, there, there});
  }
  CHECK(Counted::alive == 0);
}

TEST_CASE("a value is moved, reset and replaced without losing or doubling what it holds") {
  Counted::destroyed_in.clear();
  {
    value a = Counted(1);
    value b = std::move(a);
    CHECK(a.empty());  // NOLINT(bugprone-use-after-move)
    b = Counted(2);
    b.reset();
    CHECK(b.empty());
  }
  CHECK(Counted::alive == 0);
  CHECK(Counted::destroyed_in.size() == 2);
}

TEST_CASE("a constant value can be read and asked what it is") {
  const value number = 7;
  CHECK(number.as<int>() == 7);
  CHECK(*number.get_if<int>() == 7);
  CHECK(number.get_if<long>() == nullptr);
  CHECK(number.exception() == nullptr);
  CHECK(thrown_by([&] { static_cast<void>(number.as<long>()); }) ==
        "TypeError(\"a value of type 'long' was expected, but one of type 'int' was sent\")");
  static_assert(std::is_same_v<decltype(number.as<int>()), const int&>);
}
