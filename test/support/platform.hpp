// What the platform that the library was built with does not have (fiber/platform/README.md). A
// test case about such a thing ends with the reason, which test/run prints:
//
//   if (support::lacks_thread_names()) return;
#pragma once

#include <fiber/platform/poller.hpp>
#include <fiber/platform/socket.hpp>
#include <fiber/platform/thread.hpp>

#include <cerrno>
#include <iostream>

#include <ucontext.h>

namespace support {

// Prints the reason. Returns true.
inline bool left_out(const char* reason) {
  std::cout << "SKIP: " << reason << std::endl;
  return true;
}

inline bool lacks_loop_descriptor() {
  return fiber::platform::Poller::make()->add_timer() == ENOSYS &&
         left_out("EventLoop::fileno() refuses: the platform has no descriptor for all events");
}

inline bool lacks_native_sendfile() {
  off_t offset = 0;
  return fiber::platform::send_file(-1, -1, offset, 1) < 0 && errno == ENOSYS &&
         left_out("the platform sends no files without a copy");
}

inline bool lacks_thread_names() {
  return !fiber::platform::name_thread("test") && left_out("the platform's threads have no names");
}

// glibc's pthread_exit unwinds with GCC's unwinder, whose frames LLVM's runtime does not read: a
// program without fibers ends by SIGSEGV, too.
inline bool lacks_forced_unwinding() {
#if defined(_LIBCPP_VERSION)
  return left_out("LLVM's runtime ends any program that calls pthread_exit or pthread_cancel");
#else
  return false;
#endif
}

inline bool lacks_interrupted_place() {
  ucontext_t here;
  return ::getcontext(&here) == 0 && fiber::platform::interrupted(&here).stack_pointer == 0 &&
         left_out("the platform does not tell where a signal has interrupted code");
}

}  // namespace support
