#include <fiber/core/stack.hpp>
#include <fiber/exceptions.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>
#include <vector>

#include <sys/mman.h>
#include <sys/resource.h>

#include "support/child_process.hpp"
#include "support/emulator.hpp"
#include "support/events.hpp"

using fiber::core::kDefaultGuardSize;
using fiber::core::kDefaultStackSize;
using fiber::core::kMinStackSize;
using fiber::core::kTrimInterval;
using fiber::core::page_size;
using fiber::core::Stack;
using fiber::core::stack_limits;
using fiber::core::stack_used;
using fiber::core::StackPool;
using fiber::core::StackShape;
using support::run_forked;
using support::thrown_by;

namespace {

constexpr std::size_t kKiB = 1024;

// Sets the knobs of the pool while it lives.
struct Limits {
  fiber::core::StackLimits before = stack_limits();
  ~Limits() { stack_limits() = before; }
};

void touch(Stack* stack, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += page_size())
    *(stack->base + stack->size - page_size() - at) = std::byte{1};
}

// Returns the bytes of memory that the pages of a stack take.
std::size_t resident(std::byte* base, std::size_t size) {
  std::vector<unsigned char> pages(size / page_size());
  ::mincore(base, size, pages.data());
  return static_cast<std::size_t>(
             std::count_if(pages.begin(), pages.end(), [](auto page) { return page & 1; })) *
         page_size();
}

// Returns the status of a process that writes at `offset` bytes above the lowest byte of a fresh
// stack.
int status_of_write(std::ptrdiff_t offset) {
  return run_forked([offset] {
           std::signal(SIGSEGV, SIG_DFL);  // Valgrind goes on after a handler that returns
           StackPool pool;
           pool.allocate(kDefaultStackSize);
           Stack* stack = pool.allocate(kDefaultStackSize);
           *static_cast<volatile std::byte*>(stack->base + offset) = std::byte{1};
         })
      .status;
}

bool is_fault(int status) {
#if defined(FIBER_ASAN) || defined(FIBER_TSAN)
  return status != 0;  // sanitizers end the process themselves
#else
  return status == 128 + SIGSEGV;
#endif
}

}  // namespace

TEST_CASE("a stack has at least the size asked for, rounded up to a power of two") {
  StackPool pool;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kMinStackSize, kMinStackSize + 1,
                                 100 * kKiB, kDefaultStackSize, 8192 * kKiB}) {
    Stack* stack = pool.allocate(size);
    CHECK(stack->size >= std::max(size, kMinStackSize));
    CHECK(std::has_single_bit(stack->size));
    CHECK(stack->top() > stack->base);
    CHECK(stack->top() <= stack->base + stack->size);
    // The head room above the frames stays within one page.
    CHECK(stack->base + stack->size - stack->top() < static_cast<std::ptrdiff_t>(page_size()));
    CHECK(reinterpret_cast<std::uintptr_t>(stack->top()) % 16 == 0);
    pool.release(stack);
  }
  CHECK(pool.census().in_use == 0);
  CHECK(pool.census().idle == 5);
}

TEST_CASE("a stack of more than a tebibyte is refused") {
  StackPool pool;
  CHECK(thrown_by([&] { pool.allocate(SIZE_MAX); }) ==
        "MemoryError('a fiber stack of more than 1 TiB was asked for')");
  CHECK(thrown_by([&] { pool.allocate((std::size_t{1} << 40) + 1); }) ==
        "MemoryError('a fiber stack of more than 1 TiB was asked for')");
  CHECK(pool.census().in_use == 0);
}

TEST_CASE("the stack released last is the next to be used, per size") {
  StackPool pool;
  Stack* a = pool.allocate(kDefaultStackSize);
  Stack* b = pool.allocate(kDefaultStackSize);
  Stack* small = pool.allocate(kMinStackSize);
  pool.release(a);
  pool.release(small);
  pool.release(b);
  CHECK(pool.allocate(kDefaultStackSize) == b);
  CHECK(pool.allocate(kDefaultStackSize) == a);
  CHECK(pool.allocate(1) == small);
  for (Stack* stack : {a, b, small}) pool.release(stack);
}

TEST_CASE("slabs grow, so that many stacks take few mappings, and stacks do not overlap") {
  StackPool pool;
  std::vector<Stack*> all;
  for (int i = 0; i < 1000; ++i) all.push_back(pool.allocate(kMinStackSize));
  CHECK(pool.census().in_use == 1000);
  CHECK(pool.census().slabs < 12);
  CHECK(pool.census().reserved_bytes >= 1000 * kMinStackSize);
  std::sort(all.begin(), all.end(), [](Stack* a, Stack* b) { return a->base < b->base; });
  for (std::size_t i = 1; i < all.size(); ++i)
    REQUIRE(all[i - 1]->base + all[i - 1]->size <= all[i]->base);
  for (Stack* stack : all) pool.release(stack);
  CHECK(pool.census().idle == 1000);
}

TEST_CASE("tops are spread over cache lines") {
  StackPool pool;
  std::vector<Stack*> all;
  std::vector<std::size_t> offsets;
  for (int i = 0; i < 16; ++i) {
    Stack* stack = all.emplace_back(pool.allocate(kDefaultStackSize));
    offsets.push_back(static_cast<std::size_t>(stack->base + stack->size - stack->top()));
  }
  std::sort(offsets.begin(), offsets.end());
  for (std::size_t i = 1; i < offsets.size(); ++i) CHECK(offsets[i] - offsets[i - 1] == 64);
  for (Stack* stack : all) pool.release(stack);
}

TEST_CASE("below a stack lies a guard, wider than a frame with a buffer of 64 KiB") {
  const auto guard = static_cast<std::ptrdiff_t>(kDefaultGuardSize);
  CHECK(guard > 64 * 1024);
  CHECK(is_fault(status_of_write(-1)));
  CHECK(is_fault(status_of_write(-guard / 2)));
  CHECK(is_fault(status_of_write(-guard)));
  CHECK(status_of_write(0) == 0);
  StackPool pool;
  Stack* stack = pool.allocate(kDefaultStackSize);
  CHECK(stack->guard_size() == kDefaultGuardSize);
  CHECK(stack->guards(stack->base - 1));
  CHECK(stack->guards(stack->base - guard));
  CHECK_FALSE(stack->guards(stack->base - guard - 1));
  CHECK_FALSE(stack->guards(stack->base));
  pool.release(stack);
}

TEST_CASE("guards are there without the kernel's guard regions, too") {
  const Limits limits;
  stack_limits().guard_install = false;
  CHECK(is_fault(status_of_write(-1)));
  CHECK(is_fault(status_of_write(-static_cast<std::ptrdiff_t>(kDefaultGuardSize))));
  CHECK(status_of_write(0) == 0);
}

TEST_CASE("guards are there where a sandbox refuses the kernel's, by whatever errno") {
  const Limits limits;
  for (const int error : {EPERM, EACCES, ENOSYS, EINVAL, ENOMEM, EAGAIN}) {
    stack_limits().refuse_advice = error;
    CHECK(is_fault(status_of_write(-1)));
    CHECK(status_of_write(0) == 0);
  }
}

TEST_CASE("a stack leaves errno alone, whatever the kernel refuses") {
  const Limits limits;
  stack_limits().refuse_advice = EPERM;
  StackPool pool;
  errno = EDOM;
  Stack* stack = pool.allocate(kDefaultStackSize);
  CHECK(errno == EDOM);
  pool.release(stack);
}

TEST_CASE("a guard has the size asked for, in whole pages; stacks of other guards are others") {
  StackPool pool;
  std::vector<Stack*> all;
  for (const std::size_t guard : {std::size_t{1}, 100 * kKiB, 1024 * kKiB}) {
    Stack* stack = all.emplace_back(pool.allocate(StackShape(kDefaultStackSize, guard)));
    CHECK(stack->guard_size() >= guard);
    CHECK(stack->guard_size() < guard + page_size());
    CHECK(stack->size == kDefaultStackSize);
    CHECK(is_fault(run_forked([stack] {
                     std::signal(SIGSEGV, SIG_DFL);
                     *static_cast<volatile std::byte*>(stack->base - stack->guard_size()) =
                         std::byte{1};
                   }).status));
  }
  for (Stack* stack : all) pool.release(stack);
  CHECK(pool.allocate(StackShape(kDefaultStackSize, 100 * kKiB)) == all[1]);
  CHECK(pool.allocate(StackShape(kDefaultStackSize, 1)) == all[0]);
  for (int i : {0, 1}) pool.release(all[static_cast<std::size_t>(i)]);
}

TEST_CASE("a shape keeps both sizes, rounded up, and knows what can be had in its place") {
  constexpr StackShape usual;
  CHECK(usual.size() == kDefaultStackSize);
  CHECK(usual.guard() == kDefaultGuardSize);
  CHECK(StackShape(0, 0).size() == kMinStackSize);
  CHECK(StackShape(0, 0).guard() == 4096);
  CHECK(StackShape(100'000, 70'000) == StackShape(128 * kKiB, 72 * kKiB));
  CHECK(usual.with(0, 0) == usual);
  CHECK(usual.with(1 << 20, 0) == StackShape(1 << 20, kDefaultGuardSize));
  CHECK(usual.with(0, 1 << 20) == StackShape(kDefaultStackSize, 1 << 20));
  CHECK(usual.fits(usual));
  CHECK(usual.fits(StackShape(0, 0)));
  CHECK_FALSE(usual.fits(usual.with(512 * kKiB, 0)));
  CHECK_FALSE(usual.fits(usual.with(0, 128 * kKiB)));
  CHECK_FALSE(usual.with(1 << 20, 4096).fits(usual));
  CHECK(StackShape(std::size_t{1} << 40, std::size_t{1} << 37).possible());
  CHECK_FALSE(StackShape((std::size_t{1} << 40) + 1, 0).possible());
  CHECK_FALSE(StackShape(SIZE_MAX, SIZE_MAX).possible());
  CHECK_FALSE(StackShape(0, (std::size_t{1} << 37) + 1).possible());
  CHECK_FALSE(StackShape(0, SIZE_MAX).possible());
}

TEST_CASE("a guard of more than 128 GiB is refused") {
  StackPool pool;
  CHECK(thrown_by([&] { pool.allocate(StackShape(kDefaultStackSize, SIZE_MAX)); }) ==
        "MemoryError('a guard of more than 128 GiB was asked for a fiber stack')");
}

TEST_CASE("stacks and guards are made of whole pages, where a page is not 4 KiB") {
  const Limits limits;
  for (const std::size_t page : {16 * kKiB, 64 * kKiB}) {
    stack_limits().page_size = page;
    for (const bool install : {true, false}) {
      stack_limits().guard_install = install;
      StackPool pool;
      std::vector<Stack*> all;
      std::vector<std::size_t> offsets;
      for (int i = 0; i < 40; ++i) {
        Stack* stack = all.emplace_back(pool.allocate(StackShape(1, 1)));
        CHECK(stack->size == std::max(page, kMinStackSize));
        CHECK(stack->guard_size() == page);
        CHECK(reinterpret_cast<std::uintptr_t>(stack->base) % 4096 == 0);
        CHECK(stack->top() > stack->base);
        *stack->base = std::byte{1};
        offsets.push_back(static_cast<std::size_t>(stack->base + stack->size - stack->top()));
      }
      CHECK(*std::max_element(offsets.begin(), offsets.end()) < 2048);
      Stack* usual = pool.allocate(StackShape());
      CHECK(usual->guard_size() == (kDefaultGuardSize + page - 1) / page * page);
      CHECK(usual->size == kDefaultStackSize);
      CHECK(is_fault(run_forked([usual] {
                       std::signal(SIGSEGV, SIG_DFL);
                       *static_cast<volatile std::byte*>(usual->base - usual->guard_size()) =
                           std::byte{1};
                     }).status));
      touch(usual, 128 * kKiB);
      pool.release(usual);
      for (std::uint32_t i = 0; i < kTrimInterval; ++i) pool.release(pool.allocate(StackShape()));
      CHECK(stack_used(usual) == std::max(page, 16 * kKiB));
      for (Stack* stack : all) pool.release(stack);
      pool.trim();
      CHECK(pool.census().reserved_bytes == 0);
      Stack* again = pool.allocate(StackShape());
      CHECK_FALSE(again->guards(again->base));
      CHECK(again->guards(again->base - page));
      pool.release(again);
    }
  }
}

TEST_CASE("an exhausted map budget is an error that says what to raise, and is made good again") {
  const Limits limits;
  stack_limits().guard_install = false;
  stack_limits().map_budget = 20;
  for (int round = 0; round < 3; ++round) {
    StackPool pool;
    std::vector<Stack*> all;
    const std::string error = thrown_by([&] {
      for (;;) all.push_back(pool.allocate(kDefaultStackSize));
    });
    CHECK(error ==
          "MemoryError('cannot guard another fiber stack: the process is near the limit "
          "vm.max_map_count with 10 guarded stacks; raise it (sysctl vm.max_map_count=1000000) or "
          "use Linux 6.13 or later, where guards need no mappings')");
    REQUIRE(all.size() == 10);
    CHECK(pool.census().in_use == 10);
    pool.release(all.back());
    CHECK(pool.allocate(kDefaultStackSize) == all.back());
    stack_limits().map_budget = 22;
    all.push_back(pool.allocate(kDefaultStackSize));
    stack_limits().map_budget = 20;
    for (Stack* stack : all) pool.release(stack);
  }
}

TEST_CASE("address space that cannot be had is a MemoryError, and the pool stays usable") {
  const Limits limits;
  StackPool pool;
  stack_limits().fail_after = 1;
  std::vector<Stack*> all;
  CHECK(thrown_by([&] {
          for (;;) all.push_back(pool.allocate(kDefaultStackSize));
        }) == "MemoryError('no address space for fiber stacks (injected)')");
  CHECK(all.size() == 4);
  CHECK(pool.census().in_use == 4);
  CHECK(pool.census().slabs == 1);
  stack_limits().fail_after = -1;
  all.push_back(pool.allocate(kDefaultStackSize));
  CHECK(pool.census().in_use == 5);
  for (Stack* stack : all) pool.release(stack);
}

#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)  // sanitizers need address space without limit
TEST_CASE("a limit on address space is named with the remedy") {
  if (support::lacks_address_space_limit()) return;
  const auto ended = run_forked([] {
    const rlimit limit{std::size_t{1} << 30, std::size_t{1} << 30};
    ::setrlimit(RLIMIT_AS, &limit);
    StackPool pool;
    std::fputs(thrown_by([&] { pool.allocate(std::size_t{1} << 32); }).c_str(), stdout);
  });
  CHECK(ended.out() ==
        "MemoryError('cannot reserve 4295036928 bytes of address space for fiber stacks: Cannot "
        "allocate memory; raise the limit on address space (ulimit -v) or vm.max_map_count, or ask "
        "for smaller stacks')\n");
}

TEST_CASE("near a limit on address space one stack is taken where there is no room for more") {
  if (support::lacks_address_space_limit()) return;
  const auto ended = run_forked([] {
    const rlimit limit{std::size_t{1} << 30, std::size_t{1} << 30};
    ::setrlimit(RLIMIT_AS, &limit);
    StackPool pool;
    Stack* stack = pool.allocate(std::size_t{512} << 20);
    std::printf("%zu\n", pool.census().reserved_bytes >> 20);
    pool.release(stack);
    // Idle stacks of another kind give way.
    pool.allocate(StackShape(std::size_t{512} << 20, std::size_t{1} << 20));
    std::printf("%zu\n", pool.census().reserved_bytes >> 20);
  });
  CHECK(ended.out() == "512\n513\n");
}
#endif

#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)
TEST_CASE("under a limit the pool leaves room for the rest of the program") {
  if (support::lacks_address_space_limit()) return;
  for (const int resource : {RLIMIT_AS, RLIMIT_DATA}) {
    const auto ended = run_forked([resource] {
      const rlimit limit{std::size_t{300} << 20, std::size_t{300} << 20};
      ::setrlimit(static_cast<__rlimit_resource>(resource), &limit);
      StackPool pool;
      std::size_t stacks = 0;
      const std::string error = thrown_by([&] {
        for (;; ++stacks) pool.allocate(kDefaultStackSize);
      });
      std::puts(error.substr(0, 27).c_str());
      std::puts(stacks > 400 ? "hundreds" : "few");
      // In pieces that malloc takes from its heap, and in one piece.
      std::vector<std::vector<char>> pieces;
      for (int i = 0; i < 16 * 16; ++i) pieces.emplace_back(64 * kKiB, 'x');
      const std::vector<char> one(std::size_t{8} << 20, 'x');
      std::puts("room");
    });
    CHECK(ended.out() == "MemoryError('cannot reserve\nhundreds\nroom\n");
  }
}
#endif

TEST_CASE("a stack knows how much of it was touched") {
  StackPool pool;
  Stack* stack = pool.allocate(kDefaultStackSize);
  CHECK(stack_used(stack) == page_size());  // the page of the Stack itself
  touch(stack, 64 * kKiB);
  CHECK(stack_used(stack) == 64 * kKiB);
  pool.release(stack);
}

TEST_CASE("trim gives the memory of idle stacks back, not the memory of stacks in use") {
  StackPool pool;
  Stack* idle = pool.allocate(kDefaultStackSize);
  Stack* used = pool.allocate(kDefaultStackSize);
  std::byte* base = idle->base;
  touch(idle, 64 * kKiB);
  touch(used, 64 * kKiB);
  pool.release(idle);
  CHECK(resident(base, kDefaultStackSize) == 64 * kKiB);
  pool.trim();
  CHECK(pool.census().idle == 0);
  CHECK(resident(base, kDefaultStackSize) == 0);
  CHECK(stack_used(used) == 64 * kKiB);
  idle = pool.allocate(kDefaultStackSize);
  CHECK(idle->base == base);
  CHECK(idle->guards(base - 1));
  CHECK(stack_used(idle) == page_size());
  pool.release(idle);
  pool.release(used);
}

TEST_CASE("trim gives the address space of slabs back of which no stack is in use") {
  const Limits limits;
  stack_limits().guard_install = false;  // so that guards count as mappings, too
  stack_limits().map_budget = 40;
  StackPool pool;
  for (int round = 0; round < 3; ++round) {
    std::vector<Stack*> all;
    for (int i = 0; i < 15; ++i) all.push_back(pool.allocate(kDefaultStackSize));
    CHECK(pool.census().slabs == 3);  // of 4, 8 and 16
    pool.release(all.back());
    for (int i = 4; i < 14; ++i) pool.release(all[static_cast<std::size_t>(i)]);
    pool.trim();
    CHECK(pool.census().slabs == 1);
    CHECK(pool.census().reserved_bytes == 4 * (kDefaultStackSize + kDefaultGuardSize));
    for (int i = 0; i < 4; ++i) pool.release(all[static_cast<std::size_t>(i)]);
    pool.trim();
    CHECK(pool.census().slabs == 0);
    CHECK(pool.census().reserved_bytes == 0);
  }
}

TEST_CASE("a stack that is in use keeps its slab, whose other stacks can be had again") {
  StackPool pool;
  std::vector<Stack*> all;
  std::vector<std::byte*> bases;
  for (int i = 0; i < 12; ++i) {
    all.push_back(pool.allocate(kMinStackSize));
    bases.push_back(all.back()->base);
  }
  for (int i = 0; i < 12; ++i)
    if (i != 5) pool.release(all[static_cast<std::size_t>(i)]);
  pool.trim();
  CHECK(pool.census().slabs == 1);
  std::vector<std::byte*> again{all[5]->base};
  for (int i = 0; i < 7; ++i) {
    all[static_cast<std::size_t>(i < 5 ? i : i + 1)] = pool.allocate(kMinStackSize);
    again.push_back(all[static_cast<std::size_t>(i < 5 ? i : i + 1)]->base);
  }
  std::sort(again.begin(), again.end());
  bases.erase(bases.begin(), bases.begin() + 4);
  CHECK(again == bases);
  CHECK(pool.census().slabs == 1);
  for (int i = 0; i < 8; ++i) pool.release(all[static_cast<std::size_t>(i)]);
}

TEST_CASE("deep use is given back before a stack has been reused too often") {
  StackPool pool;
  Stack* stack = pool.allocate(kDefaultStackSize);
  touch(stack, 128 * kKiB);
  pool.release(stack);
  for (std::uint32_t i = 0; i < kTrimInterval; ++i) pool.release(pool.allocate(kDefaultStackSize));
  CHECK(stack_used(stack) == 16 * kKiB);
}

TEST_CASE("beyond the limit on idle stacks, released ones give their memory back at once") {
  StackPool pool;
  pool.max_idle(1);
  Stack* first = pool.allocate(kDefaultStackSize);
  Stack* second = pool.allocate(kDefaultStackSize);
  std::byte* base = second->base;
  touch(first, 64 * kKiB);
  touch(second, 64 * kKiB);
  pool.release(first);
  pool.release(second);
  CHECK(stack_used(first) == 64 * kKiB);
  CHECK(resident(base, kDefaultStackSize) == 0);
  CHECK(pool.census().idle == 1);
  CHECK(pool.allocate(kDefaultStackSize) == first);
  second = pool.allocate(kDefaultStackSize);
  CHECK(second->base == base);
  pool.release(first);
  pool.release(second);
}

TEST_CASE("a lower limit on idle stacks holds for those that are idle") {
  StackPool pool;
  std::vector<Stack*> all;
  for (int i = 0; i < 10; ++i)
    all.push_back(pool.allocate(i < 5 ? kMinStackSize : kDefaultStackSize));
  for (Stack* stack : all) pool.release(stack);
  CHECK(pool.census().idle == 10);
  pool.max_idle(3);
  CHECK(pool.census().idle == 3);
  pool.max_idle(0);
  CHECK(pool.census().idle == 0);
  CHECK(pool.census().in_use == 0);
}
