#include <fiber/platform/thread.hpp>

#include <sys/stat.h>
#include <unistd.h>

namespace fiber::platform {

bool is_first_thread() noexcept { return ::gettid() == ::getpid(); }

long thread_number() noexcept { return ::gettid(); }

bool may_have_other_threads(unsigned known) noexcept {
  struct stat tasks {};
  const auto expected = static_cast<nlink_t>(3 + known);  // ".", "..", this one
  return ::stat("/proc/self/task", &tasks) != 0 || tasks.st_nlink > expected;
}

}  // namespace fiber::platform
