// Greenlets at random, by the hundred and on threads that come and go; random_test.cpp compares
// their events with a model. FIBER_MODEL_STEPS sets the number of steps, FIBER_MODEL_SEED the first
// seed.
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <mutex>
#include <random>
#include <thread>

#include "support/events.hpp"
#include "support/settings.hpp"

using fiber::getcurrent;
using fiber::greenlet;
using support::AtEnd;
using support::number_from;

namespace {

using Random = std::mt19937;

// --- many greenlets suspended at some depth of nested try blocks --------------------------------

// Each level waits inside a handler of its own exception, then rethrows it to the level above.
int nested(int id, int depth) {
  try {
    if (depth == 0) throw id;
    nested(id, depth - 1);
    return -1;
  } catch (int caught) {
    getcurrent().parent().switch_(caught);
    throw;
  }
}

// A greenlet, and the expected result of its next resumption, which follows from its number and the
// count of its runs.
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

// --- greenlets that wander between threads ------------------------------------------------------

struct Tally {
  std::atomic<long> started{0}, ended{0}, refused{0};
};

// Handles that any thread may take and drop, or move to itself while their greenlet is pending.
class Bin {
 public:
  void put(greenlet g) {
    const std::lock_guard lock(mutex_);
    handles_.push_back(std::move(g));
  }
  greenlet take(Random& random) {
    const std::lock_guard lock(mutex_);
    if (handles_.empty()) return nullptr;
    std::swap(handles_[random() % handles_.size()], handles_.back());
    greenlet g = std::move(handles_.back());
    handles_.pop_back();
    return g;
  }

 private:
  std::mutex mutex_;
  std::vector<greenlet> handles_;
};

// Runs a thread: it makes greenlets, resumes its own, gives them away, drops those of other
// threads, and exits with the rest. Each greenlet answers a number with the next one. Returns false
// if one did not.
bool live(Bin& bin, Tally& tally, unsigned seed, long steps) {
  Random random(seed);
  std::vector<greenlet> own;
  bool right = true;
  for (long i = 0; i < steps && right; ++i) {
    switch (random() % 8) {
      case 0:
        own.emplace_back([&tally](int number) {
          ++tally.started;
          const AtEnd end([&tally] { ++tally.ended; });
          for (;;) number = getcurrent().parent().switch_(number + 1).as<int>();
        });
        break;
      case 1: {  // given away
        if (own.empty()) break;
        std::swap(own[random() % own.size()], own.back());
        bin.put(std::move(own.back()));
        own.pop_back();
        break;
      }
      case 2: {  // dropped here, whatever its thread
        const greenlet taken = bin.take(random);
        break;
      }
      case 3: {  // tried, and moved here if it may be
        const greenlet taken = bin.take(random);
        if (taken == nullptr) break;
        try {
          taken.parent(getcurrent());
          own.push_back(taken);
        } catch (const fiber::ValueError&) {
          try {
            taken.switch_(1);
            right = false;
          } catch (const greenlet::error&) {
            ++tally.refused;
          }
          bin.put(taken);
        }
        break;
      }
      default: {
        if (own.empty()) break;
        const int number = static_cast<int>(random() % 1000);
        right = own[random() % own.size()].switch_(number).as<int>() == number + 1;
      }
    }
  }
  if (seed % 2 == 0)
    for (greenlet& g : own) bin.put(std::move(g));
  return right;
}

}  // namespace

TEST_CASE(
    "a thousand greenlets in nested handlers, resumed at random, each see their own exceptions") {
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

TEST_CASE("greenlets that wander between threads that come and go are all unwound, once") {
  const long steps = number_from("FIBER_MODEL_STEPS", 20'000);
  const auto first_seed = static_cast<unsigned>(number_from("FIBER_MODEL_SEED", 1));
  constexpr int kThreads = 4;
  static constexpr long kLife = 500;
  Tally tally;
  std::atomic<long> wrong{0};
  {
    Bin bin;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&, seed = first_seed + 1000U * static_cast<unsigned>(t)]() mutable {
        for (long done = 0; done < steps / kThreads; done += kLife)
          std::thread([&bin, &tally, &wrong, mine = seed++] {
            if (!live(bin, tally, mine, kLife)) ++wrong;
          }).join();
      });
    for (std::thread& thread : threads) thread.join();
  }
  CHECK(wrong == 0);
  CHECK(tally.started == tally.ended);
  CHECK(tally.started > 0);
  CHECK(tally.refused > 0);
}
