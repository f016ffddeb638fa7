// The types of items, and how items are handed over.
#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/events.hpp"

using fiber::Generator;

namespace {

// Counts its copies and moves.
struct Counted {
  static inline int copies = 0;
  static inline int moves = 0;
  static inline int alive = 0;
  static void reset() { copies = moves = 0; }

  explicit Counted(int i = 0) : number(i) { ++alive; }
  Counted(const Counted& other) : number(other.number) { ++copies, ++alive; }
  Counted(Counted&& other) noexcept : number(std::exchange(other.number, -1)) { ++moves, ++alive; }
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --alive; }

  int number;
  std::array<char, 4096> bytes{};
};

}  // namespace

TEST_CASE("an rvalue is handed over without a copy or a move, through any depth of delegation") {
  Counted::reset();
  const auto inner = [] {
    return Generator<Counted>([](auto& self) {
      self.yield(Counted(1));
      self.yield(Counted(2));
    });
  };
  const Generator<Counted> outer = [&](auto& self) { self.yield_from(inner()); };
  int sum = 0;
  for (const Counted& item : outer) sum += item.number;
  CHECK(sum == 3);
  CHECK(Counted::copies == 0);
  CHECK(Counted::moves == 0);
  CHECK(Counted::alive == 0);
}

TEST_CASE("the consumer sees the object itself, where the body keeps it") {
  const void* place = nullptr;
  const Generator<const Counted&> g = [&](auto& self) {
    const Counted item(5);
    place = &item;
    self.yield(item);
  };
  Counted::reset();
  for (const Counted& item : g) {
    CHECK(&item == place);
    CHECK(item.number == 5);
  }
  CHECK(Counted::copies + Counted::moves == 0);
}

TEST_CASE("next moves an item out, once") {
  Counted::reset();
  const Generator<Counted> g = [](auto& self) { self.yield(Counted(1)); };
  CHECK(g.next().number == 1);
  CHECK(Counted::copies == 0);
  CHECK(Counted::moves == 1);
}

TEST_CASE("an lvalue is copied once, so that the consumer may move from what it gets") {
  Counted::reset();
  const Generator<Counted> g = [](auto& self) {
    Counted item(7);
    self.yield(item);
    CHECK(item.number == 7);
    const Counted constant(8);
    self.yield(constant);
  };
  int sum = 0;
  for (Counted item : g) sum += item.number;
  CHECK(sum == 15);
  CHECK(Counted::copies == 2);
  CHECK(Counted::moves == 2);
}

TEST_CASE("move-only items move") {
  const Generator<std::unique_ptr<int>> g = [](auto& self) {
    self.yield(std::make_unique<int>(1));
    auto item = std::make_unique<int>(2);
    self.yield(std::move(item));
    CHECK(item == nullptr);
    self.yield(std::make_unique<int>(3));
    self.yield(std::make_unique<int>(4));
  };
  std::vector<std::unique_ptr<int>> kept;
  kept.push_back(g.next());
  for (std::unique_ptr<int> item : g) {
    kept.push_back(std::move(item));
    if (kept.size() == 3) break;
  }
  for (auto&& item : g) kept.push_back(std::move(item));
  REQUIRE(kept.size() == 4);
  for (int i = 0; i < 4; ++i) CHECK(*kept[i] == i + 1);
}

TEST_CASE("items by reference can be changed, and next gives the reference") {
  std::vector<int> numbers{1, 2, 3};
  const auto each = [&] {
    return Generator<int&>([&](auto& self) {
      for (int& number : numbers) self.yield(number);
    });
  };
  for (int& number : each()) number *= 10;
  CHECK(numbers == std::vector{10, 20, 30});
  CHECK(&each().next() == &numbers[0]);
  const Generator<int&> delegating = [&](auto& self) { self.yield_from(numbers); };
  for (int& number : delegating) ++number;
  CHECK(numbers == std::vector{11, 21, 31});
}

TEST_CASE("items by rvalue reference, pointers and polymorphic ones") {
  const Generator<std::string&&> moved = [](auto& self) {
    std::string text = "a text that is too long to be stored in place";
    self.yield(std::move(text));
    CHECK(text.empty());
  };
  for (std::string&& text : moved) const std::string taken = std::move(text);

  struct Base {
    virtual ~Base() = default;
    virtual int number() const { return 1; }
  };
  struct Derived : Base {
    int number() const override { return 2; }
  };
  const Generator<const Base&> g = [](auto& self) {
    self.yield(Derived());
    self.yield(Base());
    const Generator<const Derived&> derived = [](auto& inner) { inner.yield(Derived()); };
    self.yield_from(derived);
  };
  std::vector<int> seen;
  for (const Base& item : g) seen.push_back(item.number());
  CHECK(seen == std::vector{2, 1, 2});

  int object = 0;
  const Generator<int*> pointers = [&](auto& self) {
    self.yield(&object);
    self.yield(nullptr);
  };
  CHECK(pointers.next() == &object);
  CHECK(pointers.next() == nullptr);
}

TEST_CASE("items are converted where they are yielded") {
  const Generator<std::string> g = [](auto& self) {
    self.yield("literal");
    self.yield(std::string(3, 'x'));
    const char* text = "pointer";
    self.yield(text);
  };
  std::vector<std::string> seen;
  for (auto&& item : g) seen.push_back(item);
  CHECK(seen == std::vector<std::string>{"literal", "xxx", "pointer"});

  const Generator<const long&> numbers = [](auto& self) {
    self.yield(short{5});
    self.yield_from({1L, 2L});
    self.yield_from(std::vector<int>{3, 4});
  };
  long sum = 0;
  for (const long& number : numbers) sum += number;
  CHECK(sum == 15);
}

TEST_CASE("an item lives until the next one is asked for") {
  support::Events say;
  struct Item {
    support::Events& say;
    explicit Item(support::Events& events) : say(events) {}
    Item(const Item&) = delete;
    ~Item() { say("gone"); }
  };
  const Generator<const Item&> g = [&](auto& self) {
    self.yield(Item(say));
    self.yield(Item(say));
  };
  for (const Item& item : g) item.say("seen");
  CHECK(say.take() == "seen gone seen gone");
}

TEST_CASE("items that are neither copied nor moved can be seen in a loop") {
  struct Fixed {
    explicit Fixed(int i) : number(i) {}
    Fixed(const Fixed&) = delete;
    int number;
  };
  const Generator<Fixed> g = [](auto& self) { self.yield(Fixed(4)); };
  for (const Fixed& item : g) CHECK(item.number == 4);
}

TEST_CASE("an inner generator's references are handed on where they fit, and converted elsewhere") {
  Counted::reset();
  Counted object(1);
  const auto references = [&] {
    return Generator<Counted&>([&](auto& self) { self.yield(object); });
  };
  const Generator<const Counted&> fits = [&](auto& self) { self.yield_from(references()); };
  for (const Counted& item : fits) CHECK(&item == &object);
  CHECK(Counted::copies == 0);

  // A consumer of values may move from them: the object is protected by a copy.
  const Generator<Counted> values = [&](auto& self) { self.yield_from(references()); };
  for (Counted item : values) CHECK(item.number == 1);
  CHECK(Counted::copies == 1);
  CHECK(object.number == 1);
}

TEST_CASE("a sent value is moved once into send() and once into the body") {
  Counted::reset();
  const Generator<int, Counted> g = [](auto& self) {
    const Counted got = self.yield(1);
    self.yield(got.number);
  };
  g.next();
  CHECK(g.send(Counted(9)) == 9);
  CHECK(Counted::copies == 0);
  CHECK(Counted::moves == 1);
}
