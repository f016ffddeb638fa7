// Profilers read a stack in a signal handler, at any instruction of a switch. And a switch must
// keep the processor's registers.
#include <fiber/config.hpp>
#include <fiber/generator.hpp>
#include <fiber/greenlet.hpp>

#include <doctest/doctest.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <string>

#include <execinfo.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "support/child_process.hpp"
#include "support/emulator.hpp"
#include "support/valgrind.hpp"

using fiber::Generator;
using fiber::getcurrent;
using fiber::greenlet;
using support::run_forked;

#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)  // sanitizers read stacks in their own way
namespace {

volatile long samples, deepest;

void sample() {
  void* frames[64];
  const int count = ::backtrace(frames, 64);
  samples = samples + 1;
  if (count > deepest) deepest = count;
}

template <class Self>
[[gnu::noinline]] void yield_deeply(Self& self, int depth) {
  static volatile bool for_ever = true;
  if (depth > 0) {
    yield_deeply(self, depth - 1);
    self.yield(depth);  // more code, so that no call is the last action
  } else {
    while (for_ever) self.yield(1);
  }
}

// Switches of all kinds: to a generator and to a greenlet that go on, and to some that begin and
// end.
class Switches {
 public:
  void once() {
    endless_.next();
    other_.switch_();
    Generator<int> short_lived([](auto& self) { self.yield(1); });
    for (int each : short_lived) (void)each;
    greenlet([] {}).switch_();
  }

 private:
  Generator<int> endless_ = [](auto& self) { yield_deeply(self, 5); };
  greenlet other_{[] {
    for (;;) getcurrent().parent().switch_();
  }};
};

}  // namespace

TEST_CASE("a profiler may read the stack at any time") {
  if (support::lacks_unwinding_from_handlers()) return;
  const auto ended = run_forked([] {
    sample();  // loads libraries
    struct sigaction action {};
    action.sa_handler = [](int) { sample(); };
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGPROF, &action, nullptr);
    const itimerval every{{0, 200}, {0, 200}};
    ::setitimer(ITIMER_PROF, &every, nullptr);
    Switches switches;
    for (long i = 0; samples < 100 && i < 100'000'000; ++i) switches.once();
    const itimerval never{};
    ::setitimer(ITIMER_PROF, &never, nullptr);
    std::puts(samples >= 100 ? "sampled" : "not sampled");
    std::fflush(stdout);
    ::_exit(0);
  });
  CHECK(ended.errors == "");
  CHECK(ended.out() == "sampled\n");
  CHECK(ended.status == 0);
}

#if defined(__x86_64__)
TEST_CASE("the stack can be read at each single instruction of a switch") {
  if (support::on_valgrind()) return;  // Valgrind does not stop at single instructions
  const auto ended = run_forked([] {
    sample();
    static volatile bool stepping;
    struct sigaction action {};
    action.sa_sigaction = [](int, siginfo_t*, void* context) {
      constexpr greg_t kTrapFlag = 0x100;
      sample();
      auto& flags = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL];
      flags = stepping ? flags | kTrapFlag : flags & ~kTrapFlag;
    };
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGTRAP, &action, nullptr);
    Switches switches;
    for (int i = 0; i < 3; ++i) switches.once();  // symbols are bound
    stepping = true;
    ::raise(SIGTRAP);
    for (int i = 0; i < 3; ++i) switches.once();
    stepping = false;
    std::puts(samples > 1000 ? "stepped" : "not stepped");
    std::puts(deepest > 5 ? "deep" : "shallow");
    std::fflush(stdout);
    ::_exit(0);
  });
  CHECK(ended.errors == "");
  CHECK(ended.out() == "stepped\ndeep\n");
  CHECK(ended.status == 0);
}
#endif
#endif

// A compiler knows which registers a call may spoil, whatever the processor has; code that is
// inlined around a switch must not mislead it.
#if defined(__x86_64__)
namespace {

#define WITH_MASKS [[gnu::target("avx512f,avx512bw"), gnu::noinline]]

WITH_MASKS std::uint64_t spoil_masks(const unsigned char* bytes) {
  std::uint64_t equal = _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(bytes), _mm512_setzero_si512());
  asm volatile("kxnorq %%k0, %%k0, %%k0\n\tkxnorq %%k1, %%k1, %%k1\n\tkxnorq %%k7, %%k7, %%k7"
               :
               :
               : "k0", "k1", "k7");
  return equal;
}

WITH_MASKS void merge_across(greenlet& other, const unsigned char* in, unsigned char* out) {
  const __mmask64 mask =
      _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(in), _mm512_loadu_si512(in + 64));
  const __m512i bytes = _mm512_loadu_si512(in);
  other.switch_();
  _mm512_mask_storeu_epi8(out, mask, bytes);
  _mm512_mask_storeu_epi8(out + 64, ~mask, bytes);
}

}  // namespace

TEST_CASE("masks and wide registers are kept across a switch") {
  if (!__builtin_cpu_supports("avx512bw") || support::on_valgrind()) {
    MESSAGE("left out: the processor has no AVX-512");
    return;
  }
  unsigned char in[128], out[128] = {}, zeros[64] = {};
  for (int i = 0; i < 64; ++i) {
    in[i] = static_cast<unsigned char>(i + 1);
    in[64 + i] = i % 2 != 0 ? in[i] : 0;
  }
  greenlet spoils([&] {
    for (;;) {
      spoil_masks(zeros);
      getcurrent().parent().switch_();
    }
  });
  spoils.switch_();
  merge_across(spoils, in, out);
  for (int i = 0; i < 64; ++i) {
    CHECK(out[i] == (i % 2 != 0 ? in[i] : 0));
    CHECK(out[64 + i] == (i % 2 != 0 ? 0 : in[i]));
  }
}
#endif
