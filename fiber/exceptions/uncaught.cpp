#include <fiber/exceptions/uncaught.hpp>

#include <fiber/exceptions.hpp>
#include <fiber/platform/thread.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>

#include <unistd.h>

namespace fiber::detail {
namespace {

constexpr int kInterrupted = 130;  // 128 and SIGINT: the status that shells show

// The handler before ours. The standard library's handler prints the type and aborts.
std::atomic<std::terminate_handler> previous{nullptr};

// The standard library's handler, unless the program has set another one before.
const std::terminate_handler standard = std::get_terminate();

[[noreturn]] void leave(int status) {
  std::cout.flush();
  std::exit(status);
}

[[noreturn]] void end_program() {
  // Only on the main thread. When the exception leaves another thread, the other threads still run,
  // and the handler before ours ends the program.
  if (const std::exception_ptr error = std::current_exception();
      error && platform::is_first_thread()) {
    try {
      std::rethrow_exception(error);
    } catch (const KeyboardInterrupt& e) {
      const char* text = e.what();
      std::fprintf(stderr, *text != '\0' ? "KeyboardInterrupt: %s\n" : "KeyboardInterrupt\n", text);
      leave(kInterrupted);
    } catch (const SystemExit& e) {
      leave(e.code());
    } catch (...) {
      // Another exception: the handler before ours reports it.
    }
  }
  if (const std::terminate_handler before = previous.load()) before();
  std::abort();
}

bool is_standard(std::terminate_handler handler) noexcept {
  return handler == nullptr || handler == standard ||
#if defined(__GLIBCXX__)
         handler == &__gnu_cxx::__verbose_terminate_handler ||
#endif
         handler == static_cast<std::terminate_handler>(&std::abort);
}

}  // namespace

void expect_at_exit() noexcept {
  static const bool once = [] {
    const std::terminate_handler now = std::get_terminate();
    if (!is_standard(now)) return false;
    previous.store(now);
    std::set_terminate(&end_program);
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace fiber::detail
