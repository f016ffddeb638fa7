#include <fiber/core/copies.hpp>

#include <fiber/platform/memory.hpp>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

namespace fiber::core {
namespace {

// One copy of the library. Copies may be of different versions: this layout never changes.
struct Copy {
  ThreadState* thread;
  // Returns whether `address` lies on the fiber that runs for that copy.
  bool (*runs_on)(const ThreadState* thread, const void* address) noexcept;
  const void* code;  // an address in the copy, to name its file
};
constexpr std::size_t kMostCopies = 8;
struct Record {
  char mark[32];
  Copy copies[kMostCopies];
};
static_assert(sizeof(Record) <= kCopiesSize);
constexpr char kMark[32] = "fiber: copies of the library, 1";

bool runs_on(const ThreadState* thread, const void* address) noexcept {
  const Stack* stack = thread->stack;
  const auto* at = static_cast<const std::byte*>(address);
  return stack != &thread->own_stack && at >= stack->base && at < stack->base + stack->size;
}

bool ours(const Copy& copy) noexcept { return copy.runs_on == &runs_on; }

Record* find_record() noexcept {
  stack_t current{};
  if (::sigaltstack(nullptr, &current) != 0 || (current.ss_flags & SS_DISABLE) != 0 ||
      current.ss_size < sizeof(Record))
    return nullptr;
  // The signal stack may be foreign memory, and freed by now.
  const auto page = reinterpret_cast<std::uintptr_t>(current.ss_sp) %
                    static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));  // not a test's
  if (!platform::is_mapped(static_cast<std::byte*>(current.ss_sp) - page, page + sizeof(Record)))
    return nullptr;
  auto* record = static_cast<Record*>(current.ss_sp);
  return std::memcmp(record->mark, kMark, sizeof kMark) == 0 ? record : nullptr;
}

const char* file_of(const void* code) noexcept {
  Dl_info info{};
  return ::dladdr(code, &info) != 0 && info.dli_fname != nullptr ? info.dli_fname : "?";
}

}  // namespace

void begin_copies(void* signal_stack, ThreadState& thread) noexcept {
  auto* record = new (signal_stack) Record{};
  record->copies[0] = {&thread, &runs_on, reinterpret_cast<const void*>(&runs_on)};
  std::memcpy(record->mark, kMark, sizeof kMark);
}

void enter_copies(ThreadState& thread) noexcept {
  Record* record = find_record();
  if (record == nullptr) return;
  for (Copy& copy : record->copies) {
    if (copy.thread != nullptr) continue;
    copy = {&thread, &runs_on, reinterpret_cast<const void*>(&runs_on)};
    return;
  }
}

void leave_copies() noexcept {
  Record* record = find_record();
  if (record == nullptr) return;
  for (Copy& copy : record->copies)
    if (copy.thread != nullptr && ours(copy)) copy = {};
}

void look_for_copies() noexcept {
  static std::atomic<bool> told{false};
  const Record* record = find_record();
  if (record == nullptr) return;
  const void* here = __builtin_frame_address(0);
  for (const Copy& copy : record->copies) {
    if (copy.thread == nullptr || ours(copy) || !copy.runs_on(copy.thread, here)) continue;
    if (told.exchange(true)) return;
    std::fprintf(
        stderr,
        "fiber: two copies of the library are in this process, in %s and in %s, and one is "
        "used in a fiber of the other: neither knows the other's fibers, and to switch "
        "between them is undefined. Link both with the shared library libfiber.so\n",
        file_of(copy.code), file_of(reinterpret_cast<const void*>(&runs_on)));
    return;
  }
}

}  // namespace fiber::core
