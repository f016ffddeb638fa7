#include <fiber/platform/thread_pointer.hpp>

#if defined(__GLIBC__) && defined(__LP64__) && (defined(__x86_64__) || defined(__aarch64__))
#define FIBER_LENDS_THREADS
#endif

#if defined(FIBER_LENDS_THREADS)
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <asm/prctl.h>
#include <sys/auxv.h>
#endif
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif
#endif

namespace fiber::platform {

#if defined(FIBER_LENDS_THREADS)

#if defined(__x86_64__)

const char* why_no_thread_pointer(bool slow) noexcept {
  // The kernel lets programs set the thread pointer, and keeps it when threads change.
  constexpr unsigned long kFsGsBase = 1UL << 1U;  // HWCAP2_FSGSBASE
  static const bool has_instruction = (::getauxval(AT_HWCAP2) & kFsGsBase) != 0;
  if (slow || has_instruction) return nullptr;
  return "this processor or its kernel does not let programs set the thread pointer (FSGSBASE); "
         "slow_thread_state does it by a system call, in 200 ns or more each time";
}

void set_thread_pointer(std::uintptr_t pointer, bool slow) noexcept {
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
const char* why_no_thread_pointer(bool /*slow*/) noexcept { return nullptr; }

void set_thread_pointer(std::uintptr_t pointer, bool /*slow*/) noexcept {
  asm volatile("msr tpidr_el0, %0" : : "r"(pointer) : "memory");
}

#endif

std::uintptr_t thread_pointer() noexcept {
  return reinterpret_cast<std::uintptr_t>(__builtin_thread_pointer());
}

// Unregisters the thread's area of restartable sequences. The kernel writes the processor's number,
// and restarts sequences, at one address for each thread: that of the running thread. Code that
// finds no area at its own thread pointer asks the kernel instead.
void prepare_to_lend() noexcept {
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

const char* why_no_thread_pointer(bool /*slow*/) noexcept {
  return "it needs glibc, on Linux, on x86-64 or arm64";
}
std::uintptr_t thread_pointer() noexcept { return 0; }
void set_thread_pointer(std::uintptr_t /*pointer*/, bool /*slow*/) noexcept {}
void prepare_to_lend() noexcept {}

#endif

}  // namespace fiber::platform
