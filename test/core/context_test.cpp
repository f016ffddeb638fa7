// The bare switch: the state that it carries along, and the state that it leaves alone.
#include <fiber/core/switch.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <cfenv>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

#include <execinfo.h>

using fiber::core::Context;
using fiber::core::kDefaultStackSize;
using fiber::core::Stack;
using fiber::core::thread_state;
using fiber::core::ThreadState;

namespace {

// A coroutine in the raw: `body` runs between resume() and suspend().
class Raw {
 public:
  explicit Raw(void (*body)(Raw&)) : body_(body), stack_(thread_state().pool.allocate(1)) {}
  Raw(const Raw&) = delete;
  Raw& operator=(const Raw&) = delete;

  void resume() {
    if (std::exchange(started_, true))
      switch_context(thread_state(), outside_, inside_);
    else
      start_context(thread_state(), outside_, stack_, &Raw::entry, this);
  }
  void suspend() { switch_context(thread_state(), inside_, outside_); }
  const Context& inside() const { return inside_; }
  std::string log;

 private:
  static void entry(void* self) {
    Raw& raw = *static_cast<Raw*>(self);
    raw.body_(raw);
    exit_context(raw.outside_);
  }

  void (*body_)(Raw&);
  Stack* stack_;
  Context outside_, inside_;
  bool started_ = false;
};

// Code that is optimised keeps these numbers in registers over the call of `pass`, if the processor
// has some that a called function must not change.
#if defined(__GNUC__) && !defined(__clang__)
__attribute__((noinline, optimize("O2"))) double powers(const volatile double&, Raw&,
                                                        void (*)(Raw&));
#endif
double powers(const volatile double& seed, Raw& raw, void (*pass)(Raw&)) {
  const double a = seed, b = a * seed, c = b * seed, d = c * seed;
  pass(raw);
  return a + 10 * b + 100 * c + 1000 * d;
}

#if defined(__powerpc64__)
// On POWER the first word of a frame is the address of the frame above, the third the return address
// of the function that it has called.
struct Frame {
  const Frame* above;
  const void* flags;
  const void* return_address;
};

void never_entered(Context*) {}
#endif

}  // namespace

#if defined(__powerpc64__)
TEST_CASE("the frames of a context are a chain that ends, from the place where it was left") {
  Raw raw([](Raw& self) { self.suspend(); });
  raw.resume();
  const auto* left = static_cast<const Frame*>(raw.inside().sp);
  REQUIRE(left->above != nullptr);
  CHECK(left->above->return_address == nullptr);  // no address that an unwinder would read
  int frames = 0;
  for (; left != nullptr && frames < 100; left = left->above) ++frames;
  CHECK(frames > 2);
  CHECK(left == nullptr);
  raw.resume();

  Stack* stack = thread_state().pool.allocate(1);
  std::memset(stack->top() - 512, 0xff, 512);  // as an ended fiber may leave them
  const auto* first = static_cast<const Frame*>(fiber::core::fresh<never_entered>(stack).sp);
  REQUIRE(first->above > first);
  CHECK(first->above->return_address == nullptr);
  CHECK(first->above->above == nullptr);
  thread_state().pool.release(stack);
}
#endif

TEST_CASE("a context starts with nothing caught and nothing in flight") {
  Raw raw([](Raw& self) {
    self.log = std::current_exception() ? "caught" : "nothing";
    self.log += std::to_string(std::uncaught_exceptions());
  });
  struct AtUnwinding {
    Raw& raw;
    ~AtUnwinding() { raw.resume(); }
  };
  try {
    try {
      throw 1;
    } catch (int) {
      const AtUnwinding at{raw};
      throw 2;
    }
  } catch (int number) {
    CHECK(number == 2);
  }
  CHECK(raw.log == "nothing0");
}

TEST_CASE("caught exceptions stay with the context that caught them") {
  Raw raw([](Raw& self) {
    try {
      throw std::runtime_error("inside");
    } catch (const std::runtime_error&) {
      self.suspend();
      try {
        throw;
      } catch (const std::runtime_error& error) {
        self.log = error.what();
      }
    }
  });
  try {
    throw std::runtime_error("outside");
  } catch (const std::runtime_error&) {
    raw.resume();
    CHECK_THROWS_WITH(throw, "outside");
    raw.resume();
    CHECK_THROWS_WITH(throw, "outside");
  }
  CHECK(raw.log == "inside");
  CHECK(std::current_exception() == nullptr);
}

TEST_CASE("numbers in registers stay with their context") {
  Raw raw([](Raw& self) {
    const volatile double three = 3;
    const double found = powers(three, self, [](Raw& inside) { inside.suspend(); });
    self.log = std::to_string(static_cast<int>(found));
  });
  const volatile double two = 2;
  CHECK(powers(two, raw, [](Raw& outside) { outside.resume(); }) == 16842);
  CHECK(powers(two, raw, [](Raw& outside) { outside.resume(); }) == 16842);
  CHECK(raw.log == "83793");
}

TEST_CASE("errno and the rounding mode stay with their context") {
  Raw raw([](Raw& self) {
    errno = 7;
    std::fesetround(FE_UPWARD);
    self.suspend();
    self.log = std::to_string(errno) + (std::fegetround() == FE_UPWARD ? "up" : "changed");
  });
  errno = 3;
  raw.resume();
  CHECK(errno == 3);
  CHECK(std::fegetround() == FE_TONEAREST);
  raw.resume();
  CHECK(errno == 3);
  CHECK(raw.log == "7up");
}

TEST_CASE("the stack of a context that exits returns to the pool once another runs") {
  ThreadState& thread = thread_state();
  const auto before = thread.pool.census();
  Raw raw([](Raw&) {});
  CHECK(thread.pool.census().in_use == before.in_use + 1);
  raw.resume();
  CHECK(thread.pool.census().in_use == before.in_use);
}

TEST_CASE("a backtrace taken in a context ends at its first frame") {
  Raw raw([](Raw& self) {
    void* frames[64];
    self.log = std::to_string(::backtrace(frames, 64));
  });
  raw.resume();
  CHECK(std::stoi(raw.log) >= 2);
  CHECK(std::stoi(raw.log) < 10);
}

TEST_CASE("a large value on the stack keeps its alignment") {
  Raw raw([](Raw& self) {
    alignas(64) volatile char aligned[64] = {};
    self.log = reinterpret_cast<std::uintptr_t>(&aligned) % 64 == 0 ? "aligned" : "not";
  });
  raw.resume();
  CHECK(raw.log == "aligned");
}
