// Random programs against a small model of the rules. FIBER_MODEL_STEPS sets their number of steps,
// FIBER_MODEL_SEED the first seed; a failure prints the shortest run that still fails.
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <random>
#include <thread>

#include "support/events.hpp"

using fiber::getcurrent;
using fiber::greenlet;
using fiber::GreenletExit;
using fiber::weak_greenlet;
using support::AtEnd;

namespace {

using Random = std::mt19937;

long number_from(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::atol(text) : otherwise;
}

// --- many greenlets suspended at some depth of nested try blocks --------------------------------

// Each level waits inside a handler of its own exception, then rethrows it to the level above.
int nested(int id, int depth) {  // NOLINT(misc-no-recursion)
  try {
    if (depth == 0) throw id;
    nested(id, depth - 1);
    return -1;
  } catch (int caught) {
    getcurrent().parent().switch_(caught);
    throw;
  }
}

// What the next resumption of a greenlet must give, told by its number and how often it ran.
struct Nest {
  greenlet g;
  int id;
  int depth;
  int step = 0;
  std::string expected() const {
    return step <= depth ? std::to_string(id) : "thrown " + std::to_string(id);
  }
  std::string resume() {
    ++step;
    try {
      fiber::value v = step == 1 ? g.switch_() : g.switch_(step);
      return std::to_string(v.as<int>());
    } catch (int caught) {
      return "thrown " + std::to_string(caught);
    }
  }
};

// --- programs of create, switch, throw, drop, reparent, weak lock, trace -----------------------

struct Tally {
  std::atomic<long> started{0}, ended{0}, hooks{0}, expected_hooks{0};
};

// One thread's greenlets. Each lives in a loop: it does what it is told when it is resumed.
class Program {
 public:
  Program(unsigned seed, Tally& tally) : random_(seed), tally_(tally), slots_(kSlots, Slot()) {}

  // Returns the index of the step that went wrong, -1 if none did.
  long run(long steps) {
    for (long i = 0; i < steps; ++i)
      if (!step()) return i;
    for (Slot& slot : slots_) drop(slot);
    return alive_ == 0 ? -1 : steps;
  }

 private:
  static constexpr std::size_t kSlots = 24;
  enum class State { none, pending, suspended, dead };
  struct Slot {
    greenlet g = nullptr;
    weak_greenlet weak;
    State state = State::none;
    bool rude = false;  // answers GreenletExit with another exception
  };

  unsigned below(std::size_t n) { return static_cast<unsigned>(random_() % n); }

  int body(bool rude, int first) {
    ++tally_.started;
    ++alive_;
    const AtEnd end([this] {
      ++tally_.ended;
      --alive_;
    });
    int number = first;
    try {
      while (number >= 0) number = getcurrent().parent().switch_(number + 1).as<int>();
    } catch (const GreenletExit&) {
      if (rude) throw fiber::ValueError("rude");
      throw;
    }
    return number;
  }

  void create(Slot& slot) {
    slot.rude = below(4) == 0;
    slot.g = greenlet([this, rude = slot.rude](int first) { return body(rude, first); });
    slot.weak = weak_greenlet(slot.g);
    slot.state = State::pending;
  }

  void drop(Slot& slot) {
    if (slot.state == State::suspended && slot.rude) ++tally_.expected_hooks;
    slot.g = nullptr;
    slot.state = State::none;
  }

  bool resume(Slot& slot, int number) {
    const int got = slot.g.switch_(number).as<int>();
    const bool dead = slot.state == State::dead;
    if (!dead) slot.state = number < 0 ? State::dead : State::suspended;
    return got == (dead || number < 0 ? number : number + 1);
  }

  bool throw_into(Slot& slot) {
    const bool exit = below(2) == 0;
    const State before = std::exchange(slot.state, State::dead);
    const bool rude = exit && before == State::suspended && slot.rude;
    const std::string error = support::thrown_by([&] {
      fiber::value v =
          exit ? slot.g.throw_() : slot.g.throw_(fiber::TypeError("thrown"));
      if (!v.exited()) throw fiber::RuntimeError("no exit");
    });
    return error == (rude ? "ValueError('rude')" : exit ? "" : "TypeError('thrown')");
  }

  bool consistent(const Slot& slot) {
    if (slot.state == State::none) return slot.g == nullptr && slot.weak.lock() == nullptr;
    return slot.weak.lock() == slot.g && slot.g.dead() == (slot.state == State::dead) &&
           static_cast<bool>(slot.g) == (slot.state == State::suspended);
  }

  bool step() {
    Slot& slot = slots_[below(kSlots)];
    bool right = true;
    if (slot.state == State::none) {
      create(slot);
    } else {
      switch (below(9)) {
        case 0: drop(slot); break;
        case 1: right = throw_into(slot); break;
        case 2: right = resume(slot, -1); break;
        case 3: {
          Slot& other = slots_[below(kSlots)];
          std::swap(slot, other);
          break;
        }
        case 4: {  // through a parent that has ended, or back
          Slot& other = slots_[below(kSlots)];
          if (&other != &slot && other.state == State::dead && other.g.parent() == getcurrent())
            slot.g.parent(other.g);
          slot.g.parent(getcurrent());
          break;
        }
        case 5: {
          long events = 0;
          const auto previous = fiber::settrace(
              [&](const char*, const greenlet&, const greenlet&) { ++events; });
          const bool stays = slot.state == State::dead;
          right = resume(slot, 3) && events == (stays ? 1 : 2);
          fiber::settrace(previous);
          break;
        }
        case 6: {  // the last handle may be dropped elsewhere, and comes back here
          if (slot.state == State::suspended && slot.rude) ++tally_.expected_hooks;
          slot.state = State::none;
          std::thread([dropped = std::move(slot.g)] {}).join();
          getcurrent();
          break;
        }
        default: right = resume(slot, static_cast<int>(below(1000))); break;
      }
    }
    return right && consistent(slot);
  }

  Random random_;
  Tally& tally_;
  std::vector<Slot> slots_;
  long alive_ = 0;
};

}  // namespace

// check 92
TEST_CASE("a thousand greenlets in nested handlers, resumed at random, each see their own exceptions") {
  for (const unsigned seed : {1U, 2U, 3U}) {
    Random random(seed);
    std::vector<Nest> nests;
    for (int i = 0; i < 1000; ++i) {
      const int depth = static_cast<int>(random() % 8);
      nests.push_back({greenlet([i, depth](fiber::value) { return nested(i, depth); }), i, depth});
    }
    bool right = true;
    while (!nests.empty() && right) {
      Nest& nest = nests[random() % nests.size()];
      const std::string expected = nest.expected();
      right = nest.resume() == expected && !std::current_exception();
      if (nest.g.dead() || random() % 16 == 0) {
        std::swap(nest, nests.back());
        nests.pop_back();
      }
    }
    CAPTURE(seed);
    CHECK(right);
  }
}

// check 95
TEST_CASE("random programs in four threads agree with the model, and leave nothing") {
  const long steps = number_from("FIBER_MODEL_STEPS", 4000);
  const auto first_seed = static_cast<unsigned>(number_from("FIBER_MODEL_SEED", 1));
  Tally tally;
  auto previous = fiber::set_unraisablehook([&](const auto&) { ++tally.hooks; });
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::vector<std::string> failures;
  for (unsigned t = 0; t < 4; ++t)
    threads.emplace_back([&, seed = first_seed + t] {
      long failed = Program(seed, tally).run(steps);
      if (failed < 0) return;
      // The same program, cut off ever earlier.
      for (long shorter = failed; shorter >= 0; --shorter) {
        const long again = Program(seed, tally).run(shorter);
        if (again < 0) break;
        failed = again;
      }
      const std::lock_guard lock(mutex);
      failures.push_back("seed " + std::to_string(seed) + " fails at step " +
                         std::to_string(failed));
    });
  for (std::thread& thread : threads) thread.join();
  fiber::set_unraisablehook(std::move(previous));
  CHECK(failures == std::vector<std::string>());
  CHECK(tally.started == tally.ended);
  CHECK(tally.hooks == tally.expected_hooks);
}
