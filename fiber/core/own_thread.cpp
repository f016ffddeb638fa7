#include <fiber/core/own_thread.hpp>

#include <fiber/core/signal_mask.hpp>
#include <fiber/core/thread_state.hpp>
#include <fiber/cxxabi.hpp>
#include <fiber/exceptions.hpp>

#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/syscall.h>
#include <unistd.h>

#if defined(__linux__) && defined(__GLIBC__) && defined(__LP64__) && \
    (defined(__x86_64__) || defined(__aarch64__))
#define FIBER_LENDS_THREADS
#if defined(__x86_64__)
#include <asm/prctl.h>
#include <sys/auxv.h>
#endif
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif
#endif

namespace fiber::core {
namespace {

PerThread* first_per_thread = nullptr;

#if defined(FIBER_LENDS_THREADS)

#if defined(__x86_64__)
// Returns whether the kernel lets programs set the thread pointer, and keeps it when threads
// change.
[[maybe_unused]] bool has_instruction() noexcept {
  constexpr unsigned long kFsGsBase = 1UL << 1U;  // HWCAP2_FSGSBASE
  static const bool has = (::getauxval(AT_HWCAP2) & kFsGsBase) != 0;
  return has;
}

[[gnu::always_inline]] inline void set_thread_pointer(std::uintptr_t pointer, bool slow) noexcept {
  if (!slow) {
    asm volatile("wrfsbase %0" : : "r"(pointer) : "memory");
    return;
  }
  // No function of libc's: that would use errno.
  long result;
  asm volatile("syscall"
               : "=a"(result)
               : "0"(SYS_arch_prctl), "D"(ARCH_SET_FS), "S"(pointer)
               : "rcx", "r11", "memory");
}
#else
// Every program may set TPIDR_EL0.
[[maybe_unused]] constexpr bool has_instruction() noexcept { return true; }

[[gnu::always_inline]] inline void set_thread_pointer(std::uintptr_t pointer, bool) noexcept {
  asm volatile("msr tpidr_el0, %0" : : "r"(pointer) : "memory");
}
#endif

std::uintptr_t thread_pointer() noexcept {
  return reinterpret_cast<std::uintptr_t>(__builtin_thread_pointer());
}

// Unregisters the helper's area of restartable sequences. The kernel writes the processor's number,
// and restarts sequences, in the area of the thread that runs, not in that of the helper. Code that
// finds no area at its own thread pointer asks the kernel instead.
void leave_restartable_sequences() noexcept {
#if defined(RSEQ_SIG) && defined(SYS_rseq)
  constexpr int kUnregister = 1;
  constexpr unsigned kOriginalSize = 32;
  char* const area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
  if (__rseq_size == 0) return;
  // The size that libc has registered depends on its version.
  if (::syscall(SYS_rseq, area, kOriginalSize, kUnregister, RSEQ_SIG) != 0)
    ::syscall(SYS_rseq, area, __rseq_size, kUnregister, RSEQ_SIG);
#endif
}

#else

constexpr std::uintptr_t thread_pointer() noexcept { return 0; }
void set_thread_pointer(std::uintptr_t, bool) noexcept {}
void leave_restartable_sequences() noexcept {}

#endif

}  // namespace

PerThread::PerThread(void* (*address)(), std::size_t size, void (*prepare)()) noexcept
    : address_(address),
      size_(size),
      prepare_(prepare),
      next_(std::exchange(first_per_thread, this)) {}

void OwnThread::Identity::take() noexcept {
  pointer = thread_pointer();
  exceptions = static_cast<CxxExceptionState*>(detail::exception_globals());
  error_number = &errno;
}

const char* OwnThread::why_not([[maybe_unused]] bool slow) noexcept {
#if defined(FIBER_TSAN) || defined(FIBER_ASAN)
  return "sanitizers tell threads apart by the state that such a task would own";
#elif defined(FIBER_LENDS_THREADS)
  if (slow || has_instruction()) return nullptr;
  return "this processor or its kernel does not let programs set the thread pointer (FSGSBASE); "
         "slow_thread_state does it by a system call, in 200 ns or more each time";
#else
  return "there is none but with glibc, on Linux, on x86-64 or arm64";
#endif
}

OwnThread::OwnThread(ThreadState& thread, bool slow)
    : thread_(thread),
      slow_(slow && why_not(false) != nullptr),
      sign_{this, 0},
      process_(::getpid()) {
  home_.take();
  for (const PerThread* at = first_per_thread; at != nullptr; at = at->next_) {
    if (at->prepare_ != nullptr) at->prepare_();
    carried_.push_back({at->address_(), nullptr, at->size_});
  }
  ::pthread_barrier_init(&is_ready_, nullptr, 2);
  ::pthread_barrier_init(&is_over_, nullptr, 2);
  int error = 0;
  {
    const SignalsBlocked blocked;
    error = ::pthread_create(&helper_, nullptr, park_entry, this);
  }
  if (error != 0) raise_os_error(error, "cannot start the thread of a task with own_thread_state");
  ::pthread_barrier_wait(&is_ready_);
  thread_.own_threads.prepend(*this);
}

OwnThread::~OwnThread() {
  thread_.own_threads.remove(*this);
  if (process_ != ::getpid()) return;  // a child process has no helper thread
  ::pthread_barrier_wait(&is_over_);
  ::pthread_join(helper_, nullptr);
}

void* OwnThread::park_entry(void* self) {
  static_cast<OwnThread*>(self)->park();
  return nullptr;
}

// Runs the helper thread.
void OwnThread::park() noexcept {
  // A cancellation would end the helper while the fiber uses its state.
  ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
  leave_restartable_sequences();
  own_.take();
  id_ = static_cast<int>(::syscall(SYS_gettid));
  own_state_ = &tls_thread_state;
  auto carried = carried_.begin();
  for (const PerThread* at = first_per_thread; at != nullptr; at = at->next_)
    (carried++)->own = at->address_();
  ::pthread_barrier_wait(&is_ready_);
  ::pthread_barrier_wait(&is_over_);
}

[[gnu::noinline]] void OwnThread::lend() noexcept {
  for (const Carried& each : carried_) std::memcpy(each.own, each.home, each.size);
  *own_state_ = &thread_;
  thread_.lent = this;
  thread_.exceptions = &sign_;
  thread_.error_number = own_.error_number;
  set_thread_pointer(own_.pointer, slow_);
}

[[gnu::noinline]] void OwnThread::take_back() noexcept {
  set_thread_pointer(home_.pointer, slow_);
  thread_.lent = nullptr;
  thread_.exceptions = home_.exceptions;
  thread_.error_number = home_.error_number;
  *own_state_ = nullptr;
  for (const Carried& each : carried_) {
    std::memcpy(each.home, each.own, each.size);
    std::memset(each.own, 0, each.size);
  }
}

[[gnu::noinline]] void OwnThread::run(void (*function)(void* argument), void* argument) noexcept {
  lend();
  function(argument);
  take_back();
}

bool OwnThread::is_of_this_thread(int id) noexcept {
  if (tls_thread_state == nullptr) return false;
  for (const OwnThread& each : tls_thread_state->own_threads)
    if (each.id_ == id) return true;
  return false;
}

}  // namespace fiber::core
