#include <fiber/platform/thread.hpp>

#include <algorithm>
#include <atomic>

#include <pthread.h>
#include <unistd.h>

namespace fiber::platform {
namespace {

// The thread that runs the static initialisers, which is the first one unless a program loads the
// library later from another thread. In a child process the thread that has called fork() is left.
pthread_t first = [] {
  ::pthread_atfork(nullptr, nullptr, [] { first = ::pthread_self(); });
  return ::pthread_self();
}();

}  // namespace

bool is_first_thread() noexcept { return ::pthread_equal(::pthread_self(), first) != 0; }

long thread_number() noexcept {
  static std::atomic<long> last{0};
  static thread_local const long number = ++last;
  return number;
}

bool may_have_other_threads(unsigned /*known*/) noexcept { return true; }

bool name_thread(const char* /*name*/) noexcept { return false; }

int usable_processors() noexcept {
#if defined(_SC_NPROCESSORS_ONLN)
  return static_cast<int>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
#else
  return 1;
#endif
}

Interrupted interrupted(const void* /*context*/) noexcept { return {}; }

}  // namespace fiber::platform
