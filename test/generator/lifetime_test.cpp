#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/leak_check.hpp"

using fiber::Generator;
using fiber::GeneratorExit;
using support::AtEnd;
using support::Events;
using support::thrown_by;

namespace {

// Collects reports, without the generator's address.
class Reported {
 public:
  explicit Reported(Events& events)
      : previous_(fiber::set_unraisablehook([&events](const fiber::UnraisableHookArgs& args) {
          std::string text = args.message;
          const auto at = text.find(" at 0x");
          text.erase(at, text.find_first_of(" >", at + 4) - at);
          events(text + " " + (args.object == nullptr ? "none" : support::label(args.object)) +
                 " " + fiber::repr(args.exception));
        })) {}
  Reported(const Reported&) = delete;
  Reported& operator=(const Reported&) = delete;
  ~Reported() { fiber::set_unraisablehook(std::move(previous_)); }

 private:
  fiber::unraisable_hook previous_;
};

Generator<int> cleaning(Events& say, std::string name = "cleanup") {
  return [&say, name](auto& self) {
    const AtEnd end([&] { say(name); });
    for (int i = 0;; ++i) self.yield(i);
  };
}

std::size_t stacks() { return fiber::core::thread_state().pool.census().in_use; }

}  // namespace

TEST_CASE("a stack is taken at the first item and given back at the end") {
  const auto before = stacks();
  const Generator<int> g = [](auto& self) { self.yield(1); };
  CHECK(stacks() == before);
  CHECK(g.stack_used() == 0);
  g.next();
  CHECK(stacks() == before + 1);
  CHECK(g.stack_used() > 0);
  CHECK_THROWS_AS(g.next(), fiber::StopIteration);
  CHECK(stacks() == before);
  CHECK(g.stack_used() == 0);
}

TEST_CASE("the last handle to a suspended generator closes it, before the drop returns") {
  Events say;
  auto g = cleaning(say);
  auto other = g;
  g.next();
  g = nullptr;
  CHECK(say.take() == "");
  other = nullptr;
  CHECK(say.take() == "cleanup");
}

TEST_CASE("a loop over a temporary generator that is left closes it") {
  Events say;
  for (const int i : cleaning(say)) {
    say(i);
    if (i == 2) break;
  }
  say("after");
  CHECK(say.take() == "0 1 2 cleanup after");
}

TEST_CASE("a generator that never started, or has ended, is dropped without running") {
  Events say;
  { const auto never = cleaning(say); }
  CHECK(say.take() == "");
  {
    const auto ended = cleaning(say);
    ended.next();
    ended.close();
    CHECK(say.take() == "cleanup");
  }
  CHECK(say.take() == "");
}

TEST_CASE("the body and its captures end with the generator, not with the handle") {
  auto shared = std::make_shared<int>(1);
  const Generator<int> g = [shared](auto& self) { self.yield(1); };
  g.next();
  CHECK(shared.use_count() == 2);
  CHECK_THROWS_AS(g.next(), fiber::StopIteration);
  CHECK(shared.use_count() == 1);
}

TEST_CASE("an iterator keeps its generator") {
  Events say;
  {
    auto it = cleaning(say).begin();
    CHECK(*it == 0);
    ++it;
    CHECK(*it == 1);
    CHECK(say.take() == "");
  }
  CHECK(say.take() == "cleanup");
}

TEST_CASE("a body may drop the last handle to its own generator") {
  Events say;
  std::optional<Generator<int>> g;
  g = [&](auto& self) {
    const AtEnd end([&] { say("cleanup"); });
    g.reset();
    self.yield(1);
    self.yield(2);
  };
  CHECK(g->next() == 1);
  CHECK(say.take() == "cleanup");
}

TEST_CASE("a handle may be reassigned in the loop over it") {
  Events say;
  auto g = cleaning(say, "first");
  for (const int i : g) {
    say(i);
    if (i == 1) g = cleaning(say, "second");
    if (i == 2) break;
  }
  say(g.next());
  g = nullptr;
  CHECK(say.take() == "0 1 2 first 0 second");
}

TEST_CASE("an exception of the clean-up at the last handle's drop goes to the unraisable hook") {
  Events say;
  const Reported reported(say);
  {
    Generator<int> g(
        [](auto& self) {
          try {
            self.yield(1);
          } catch (const GeneratorExit&) {
            throw fiber::ValueError("clean-up");
          }
        },
        {.name = "failing"});
    g.next();
  }
  CHECK(say.take() ==
        "Exception ignored in <generator 'failing' closed>, dropped in main "
        "ValueError('clean-up')");
}

TEST_CASE("a generator that yields when its last handle is dropped is reported, and stays") {
  support::leaks_on_purpose();
  Events say;
  const Reported reported(say);
  {
    const Generator<int> g = [](auto& self) {
      for (;;) {
        try {
          self.yield(1);
        } catch (const GeneratorExit&) {
        }
      }
    };
    g.next();
  }
  CHECK(say.take() ==
        "Exception ignored in <generator suspended>, dropped in main "
        "RuntimeError('generator ignored GeneratorExit')");
  CHECK(fiber::all_generators().size() == 1);
  CHECK(say.take() == "");  // seen again, and dropped again: no second close
}

TEST_CASE("a clean-up that brings its generator back to life keeps it") {
  Events say;
  fiber::GeneratorBase kept;
  {
    const Generator<int> g = [&](auto& self) {
      try {
        self.yield(1);
      } catch (const GeneratorExit&) {
        kept = fiber::all_generators().back();
        say("exit");
      }
    };
    g.next();
  }
  CHECK(say.take() == "exit");
  CHECK(kept.state() == fiber::GEN_CLOSED);
}

TEST_CASE("handles dropped by the unwinding of an exception leave it alone") {
  Events say;
  say(thrown_by([&] {
    const auto g = cleaning(say);
    g.next();
    throw fiber::ValueError("a");
  }));
  CHECK(say.take() == "cleanup ValueError('a')");
}

TEST_CASE("a chain of captured generators is dropped without recursion") {
  constexpr int kLength = 100'000;
  auto shared = std::make_shared<int>(0);
  Generator<int> chain = [shared](auto& self) { self.yield(1); };
  for (int i = 0; i < kLength; ++i)
    chain = [inner = std::move(chain), shared](auto& self) { self.yield_from(inner); };
  CHECK(shared.use_count() == kLength + 2);
  chain = nullptr;
  CHECK(shared.use_count() == 1);
}

TEST_CASE("a chain of suspended generators that own each other is closed outermost first") {
  constexpr int kLength = 2'000;
  int closed = 0;
  Generator<int> chain = [&](auto& self) {
    const AtEnd end([&] { ++closed; });
    for (int i = 0;; ++i) self.yield(i);
  };
  for (int i = 0; i < kLength; ++i)
    chain = [&closed, inner = std::move(chain)](auto& self) {
      const AtEnd end([&] { ++closed; });
      for (const int item : inner) self.yield(item + 1);
    };
  CHECK(chain.next() == kLength);
  CHECK(chain.next() == kLength + 1);
  chain = nullptr;
  CHECK(closed == kLength + 1);
}

TEST_CASE("no stack: MemoryError at the first item, and the generator may be tried again") {
  std::thread([] {
    const Generator<int> g = [](auto& self) { self.yield(1); };
    const Generator<int> outer = [&](auto& self) {
      try {
        self.yield_from(
            Generator<int>([](auto& inner) { inner.yield(1); }, {.stack_size = 8 << 20}));
      } catch (const fiber::MemoryError&) {
        self.yield(2);
      }
    };
    fiber::core::stack_limits().fail_after = 0;
    CHECK_THROWS_AS(g.next(), fiber::MemoryError);
    CHECK(g.state() == fiber::GEN_CREATED);
    fiber::core::stack_limits().fail_after = 1;
    CHECK(outer.next() == 2);
    fiber::core::stack_limits().fail_after = -1;
    CHECK(g.next() == 1);
  }).join();
}

TEST_CASE("the stack size is an option") {
  const auto deep = [](auto& self) {
    const std::function<int(int)> use = [&](int depth) {
      volatile char space[1024] = {};
      space[0] = 1;
      return depth == 0 ? self.yield(1), 0 : use(depth - 1) + space[0];
    };
    use(1000);
  };
  const Generator<int> g(deep, {.stack_size = 8 << 20});
  CHECK(g.next() == 1);
  CHECK(g.stack_used() > 1000 * 1024);
}

TEST_CASE("a thread that exits closes its suspended generators, newest first") {
  Events say;
  std::vector<Generator<int>> outlives;
  std::thread([&] {
    for (const char* name : {"a", "b", "c"}) {
      outlives.push_back(cleaning(say, name));
      outlives.back().next();
    }
    outlives.push_back(cleaning(say, "never started"));
  }).join();
  CHECK(say.take() == "c b a");
  for (int i = 0; i < 3; ++i) CHECK(outlives[i].state() == fiber::GEN_CLOSED);
  CHECK(thrown_by([&] { outlives[3].next(); }) ==
        "RuntimeError('a generator was used on another thread than the one that made it')");
  outlives.clear();
  CHECK(say.take() == "");
}

TEST_CASE("a generator that ignores its thread's exit is reported, and its handle may be dropped") {
  Events say;
  const Reported reported(say);
  Generator<int> outlives;
  std::thread([&] {
    outlives = [](auto& self) {
      for (;;) {
        try {
          self.yield(1);
        } catch (const GeneratorExit&) {
        }
      }
    };
    outlives.next();
  }).join();
  CHECK(say.take().find("RuntimeError('generator ignored GeneratorExit')") != std::string::npos);
  // Kept: its stack cannot be unwound any more. Static, so that the leak checker sees it.
  static const Generator<int> kept = outlives;
  CHECK(kept.state() == fiber::GEN_SUSPENDED);
}

TEST_CASE("all generators of a thread can be listed, oldest first") {
  Events say;
  const auto a = cleaning(say);
  const auto b = cleaning(say);
  const auto c = cleaning(say);
  b.next();
  a.next();
  const auto before = fiber::all_generators();
  REQUIRE(before.size() >= 2);
  CHECK(before[before.size() - 2] == b);
  CHECK(before.back() == a);
  b.close();
  CHECK(fiber::all_generators().size() == before.size() - 1);
}

namespace {

std::optional<Generator<int>::iterator> the_iterator;

// Drops the iterator as the body ends that has it last.
struct DropsIterator {
  DropsIterator() = default;
  DropsIterator(DropsIterator&& other) noexcept : last(std::exchange(other.last, false)) {}
  DropsIterator(const DropsIterator&) noexcept : last(false) {}
  DropsIterator& operator=(const DropsIterator&) = delete;
  ~DropsIterator() {
    if (last) the_iterator.reset();
  }
  bool last = true;
};

}  // namespace

TEST_CASE("an iterator may be dropped by the body that it continues") {
  Generator<int> generator = [last = DropsIterator()](auto& self) { self.yield(1); };
  the_iterator = generator.begin();
  generator = nullptr;
  CHECK(**the_iterator == 1);
  ++*the_iterator;
  CHECK_FALSE(the_iterator.has_value());
}

TEST_CASE("a hook may set another one as it ends") {
  struct Hook {
    bool* ended;
    bool last = true;
    explicit Hook(bool* told) : ended(told) {}
    Hook(const Hook& other) : ended(other.ended), last(false) {}
    Hook(Hook&& other) noexcept : ended(other.ended), last(std::exchange(other.last, false)) {}
    Hook& operator=(const Hook&) = delete;
    ~Hook() {
      if (!last) return;
      *ended = true;
      fiber::set_unraisablehook(fiber::set_unraisablehook(nullptr));
    }
    void operator()(const fiber::UnraisableHookArgs&) const {}
  };
  bool ended = false;
  auto before = fiber::set_unraisablehook(Hook(&ended));
  CHECK_FALSE(ended);
  fiber::set_unraisablehook(nullptr);
  CHECK(ended);
  fiber::set_unraisablehook(std::move(before));
}
