#include <fiber/platform/thread.hpp>

#include <algorithm>

#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

namespace fiber::platform {

bool is_first_thread() noexcept { return ::gettid() == ::getpid(); }

long thread_number() noexcept { return ::gettid(); }

bool may_have_other_threads(unsigned known) noexcept {
  struct stat tasks {};
  const auto expected = nlink_t{3} + known;  // ".", "..", this one
  return ::stat("/proc/self/task", &tasks) != 0 || tasks.st_nlink > expected;
}

bool name_thread(const char* name) noexcept {
  return ::pthread_setname_np(::pthread_self(), name) == 0;
}

int usable_processors() noexcept {
  cpu_set_t processors;
  if (::sched_getaffinity(0, sizeof processors, &processors) != 0) return 1;
  return std::max(1, CPU_COUNT(&processors));
}

Interrupted interrupted(const void* context) noexcept {
  [[maybe_unused]] const auto& machine = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  return {static_cast<std::uintptr_t>(machine.gregs[REG_RIP]),
          static_cast<std::uintptr_t>(machine.gregs[REG_RSP])};
#elif defined(__aarch64__)
  return {machine.pc, machine.sp};
#else
  return {};
#endif
}

}  // namespace fiber::platform
