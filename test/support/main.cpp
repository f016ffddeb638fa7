// The main function of every test program.
#define DOCTEST_CONFIG_IMPLEMENT
// Faults go to the library's own handler and to the sanitizers'.
#define DOCTEST_CONFIG_NO_POSIX_SIGNALS
#include <doctest/doctest.h>

#include "leak_check.hpp"

REGISTER_LISTENER("leaks", 1, support::LeakListener);

#if defined(FIBER_TSAN)
// ThreadSanitizer counts fibers as threads, and so a child process as forked by a process with
// several threads; it may start threads nevertheless.
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }
#endif

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  const int status = context.run();
  return status == 0 && support::leaks_found() ? 1 : status;
}
