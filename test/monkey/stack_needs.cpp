// Prints the stack that each of the calls uses, as rows of the table in fiber/monkey/README.md:
//
//   g++ -std=c++20 -O2 -Itest test/monkey/stack_needs.cpp && ./a.out
//
// Each is made twice, on threads with stacks that were painted before: the first time it may load
// what the second finds.
#include "monkey/old_calls.hpp"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>

namespace {

constexpr std::size_t kSize = 2U << 20U;
constexpr unsigned char kPaint = 0xa5;

struct Measured {
  void (*run)();
  std::byte* stack;
  std::size_t used = 0;
};

void* measure(void* of) {
  auto& measured = *static_cast<Measured*>(of);
  // The memory above belongs to the thread, and to the frame of this function.
  const auto* here = reinterpret_cast<std::byte*>(__builtin_frame_address(0));
  measured.run();
  const std::byte* lowest = std::find_if(measured.stack, measured.stack + kSize,
                                         [](std::byte each) { return each != std::byte{kPaint}; });
  measured.used = static_cast<std::size_t>(here - lowest);
  return nullptr;
}

std::size_t stack_of(void (*run)()) {
  void* memory = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 0;
  std::memset(memory, kPaint, kSize);
  Measured measured{run, static_cast<std::byte*>(memory)};
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstack(&attributes, memory, kSize);
  pthread_t thread;
  ::pthread_create(&thread, &attributes, measure, &measured);
  ::pthread_join(thread, nullptr);
  ::pthread_attr_destroy(&attributes);
  ::munmap(memory, kSize);
  return measured.used;
}

}  // namespace

int main() {
  for (const monkey_test::OldCall& call : monkey_test::kOldCalls) {
    const std::size_t first = stack_of(call.run), again = stack_of(call.run);
    std::printf("| %s | %.1f | %.1f |\n", call.name, static_cast<double>(first) / 1024,
                static_cast<double>(again) / 1024);
    std::fflush(stdout);
  }
}
