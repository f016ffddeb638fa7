// Small programs like those of CPython's tests and documentation.
#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "support/generators.hpp"

using fiber::Generator;
using support::list;

namespace {

Generator<int> integers(int from) {
  return [=](auto& self) {
    for (int i = from;; ++i) self.yield(i);
  };
}

template <class T>
Generator<T> first(int count, Generator<T> items) {
  return [=](auto& self) {
    for (int i = 0; i < count; ++i) self.yield(items.next());
  };
}

Generator<int> without_multiples(int of, Generator<int> items) {
  return [=](auto& self) {
    for (const int i : items)
      if (i % of != 0) self.yield(i);
  };
}

Generator<int> primes() {
  return [](auto& self) {
    Generator<int> left = integers(2);
    for (;;) {
      const int prime = left.next();
      self.yield(prime);
      left = without_multiples(prime, left);
    }
  };
}

Generator<long> times(long factor, Generator<long> items) {
  return [=](auto& self) {
    for (const long i : items) self.yield(factor * i);
  };
}

Generator<long> merged(Generator<long> a, Generator<long> b) {
  return [=](auto& self) {
    long x = a.next();
    long y = b.next();
    for (;;) {
      if (x < y) {
        self.yield(x);
        x = a.next();
      } else if (y < x) {
        self.yield(y);
        y = b.next();
      } else {
        self.yield(x);
        x = a.next();
        y = b.next();
      }
    }
  };
}

// Yields the numbers 2^i * 3^j * 5^k, by recursion on the sequence itself.
Generator<long> hamming() {
  return [](auto& self) {
    self.yield(1);
    self.yield_from(merged(times(2, hamming()), merged(times(3, hamming()), times(5, hamming()))));
  };
}

Generator<std::vector<int>> queens(int size) {
  return [=](auto& self) {
    std::vector<int> columns;
    const auto safe = [&](int column) {
      for (std::size_t row = 0; row < columns.size(); ++row) {
        const int distance = static_cast<int>(columns.size() - row);
        if (columns[row] == column || std::abs(columns[row] - column) == distance) return false;
      }
      return true;
    };
    const std::function<void()> place = [&] {
      if (static_cast<int>(columns.size()) == size) {
        self.yield(columns);
        return;
      }
      for (int column = 0; column < size; ++column) {
        if (!safe(column)) continue;
        columns.push_back(column);
        place();
        columns.pop_back();
      }
    };
    place();
  };
}

}  // namespace

TEST_CASE("the sieve: each prime adds a generator to the chain") {
  CHECK(list(first(20, primes())) ==
        std::vector{2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71});
}

TEST_CASE("Hamming's numbers: generators that consume themselves") {
  CHECK(list(first(25, hamming())) == std::vector<long>{1,  2,  3,  4,  5,  6,  8,  9,  10,
                                                        12, 15, 16, 18, 20, 24, 25, 27, 30,
                                                        32, 36, 40, 45, 48, 50, 54});
}

TEST_CASE("Fibonacci's numbers") {
  const Generator<std::uint64_t> fibonacci = [](auto& self) {
    std::uint64_t a = 0;
    for (std::uint64_t b = 1;; a = std::exchange(b, a + b)) self.yield(a);
  };
  std::uint64_t last = 0;
  for (int i = 0; i <= 90; ++i) last = fibonacci.next();
  CHECK(last == 2880067194370816120U);
}

TEST_CASE("eight queens: a yield at the bottom of a recursion") {
  int count = 0;
  for (const auto& columns : queens(8)) {
    if (count++ == 0) CHECK(columns == std::vector{0, 4, 7, 5, 2, 6, 1, 3});
  }
  CHECK(count == 92);
}

TEST_CASE("backtracking: each generator makes its next choice for all choices of those before") {
  using Makers = std::vector<std::function<Generator<int>()>>;
  std::vector<int> chosen(3);
  Makers makers;
  for (std::size_t place = 0; place < chosen.size(); ++place)
    makers.emplace_back([&chosen, place] {
      return Generator<int>([&chosen, place](auto& self) {
        for (int digit = 1; digit <= 3; ++digit) {
          const auto end = chosen.begin() + static_cast<std::ptrdiff_t>(place);
          if (std::find(chosen.begin(), end, digit) != end) continue;
          chosen[place] = digit;
          self.yield();
        }
      });
    });
  const std::function<Generator<std::vector<int>>(std::size_t)> conjoin = [&](std::size_t place) {
    return Generator<std::vector<int>>([&, place](auto& self) {
      if (place == makers.size()) {
        self.yield(chosen);
        return;
      }
      for ([[maybe_unused]] const int choice : makers[place]()) self.yield_from(conjoin(place + 1));
    });
  };
  std::string permutations;
  for (const auto& permutation : conjoin(0)) {
    for (const int digit : permutation) permutations += std::to_string(digit);
    permutations += ' ';
  }
  CHECK(permutations == "123 132 213 231 312 321 ");
}

TEST_CASE("disjoint sets: each member is a generator that tells whom it belongs to") {
  struct Member {
    std::string name;
    Member* parent = nullptr;
    Generator<Member*> generator = nullptr;
    Member* find() { return generator.next(); }
    void join(Member& other) {
      Member* mine = find();
      Member* theirs = other.find();
      if (mine != theirs) mine->parent = theirs;
    }
  };
  std::vector<Member> members(6);
  for (std::size_t i = 0; i < members.size(); ++i) {
    Member& member = members[i];
    member.name = std::string(1, static_cast<char>('A' + i));
    member.generator = [&member](auto& self) {
      while (member.parent == nullptr) self.yield(&member);
      for (;;) self.yield(member.parent->find());
    };
  }
  const auto sets = [&] {
    std::string text;
    for (Member& member : members) text += member.find()->name;
    return text;
  };
  CHECK(sets() == "ABCDEF");
  members[0].join(members[1]);
  members[2].join(members[3]);
  members[0].join(members[3]);
  CHECK(sets() == "DDDDEF");
  for (Member& member : members) member.generator = nullptr;
}

TEST_CASE("a pipeline of coroutines that are sent to") {
  std::vector<std::string> printed;
  using Sink = Generator<int, std::string>;
  const Sink printer = [&](auto& self) {
    for (;;) printed.push_back(self.yield(0));
  };
  const Sink grep = [&](auto& self) {
    try {
      for (;;) {
        const std::string line = self.yield(0);
        if (line.find("python") != std::string::npos) printer.send(line);
      }
    } catch (const fiber::GeneratorExit&) {
      printer.close();
    }
  };
  printer.next();
  grep.next();
  for (const char* line : {"no snakes here", "python generators rock", "yeah, python"})
    grep.send(line);
  grep.close();
  CHECK(printed == std::vector<std::string>{"python generators rock", "yeah, python"});
  CHECK(printer.state() == fiber::GEN_CLOSED);
}

TEST_CASE("a trampoline runs several tasks in turn") {
  std::vector<std::string> log;
  const auto task = [&](std::string name, int steps) {
    return Generator<int>([&log, name, steps](auto& self) {
      for (int i = 0; i < steps; ++i) {
        log.push_back(name + std::to_string(i));
        self.yield();
      }
    });
  };
  std::vector<Generator<int>> ready{task("a", 2), task("b", 3), task("c", 1)};
  while (!ready.empty()) {
    const Generator<int> next = ready.front();
    ready.erase(ready.begin());
    if (next.next(-1) != -1) ready.push_back(next);
  }
  CHECK(log == std::vector<std::string>{"a0", "b0", "c0", "a1", "b1", "b2"});
}
