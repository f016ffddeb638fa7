#include <fiber/platform/thread.hpp>

#include <atomic>

#include <pthread.h>

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

}  // namespace fiber::platform
