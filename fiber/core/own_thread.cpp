#include <fiber/core/own_thread.hpp>

#include <fiber/core/sanitizer.hpp>
#include <fiber/core/signal_mask.hpp>
#include <fiber/core/thread_state.hpp>
#include <fiber/cxxabi.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/platform/thread.hpp>
#include <fiber/platform/thread_pointer.hpp>

#include <cerrno>
#include <cstdlib>
#include <new>
#include <utility>

#include <unistd.h>

namespace fiber::core {
namespace {

PerThreadUse* first_use = nullptr;

#if defined(FIBER_ASAN)
// exit() that a fiber calls with a lent thread does not end the state of the thread that runs it:
// LeakSanitizer is told of the stack that the thread has left.
void expect_exit() {
  static const int registered = std::atexit([] {
    ThreadState* thread = tls_thread_state;
    if (thread != nullptr && thread->lent != nullptr)
      sanitizer::own_stack_abandoned(&thread->own_stack);
  });
  if (registered != 0) throw std::bad_alloc();
}
#else
void expect_exit() {}
#endif

}  // namespace

PerThreadUse::PerThreadUse(PerThreadBase& (*variable)(), void (*prepare)()) noexcept
    : variable_(variable), prepare_(prepare), next_(std::exchange(first_use, this)) {}

void OwnThread::Identity::take() noexcept {
  pointer = platform::thread_pointer();
  exceptions = static_cast<CxxExceptionState*>(detail::exception_globals());
  error_number = &errno;
}

const char* OwnThread::why_not([[maybe_unused]] bool slow) noexcept {
#if defined(FIBER_TSAN)
  return "ThreadSanitizer tells threads apart by the state that such a fiber would own";
#else
  return platform::why_no_thread_pointer(slow);
#endif
}

OwnThread::OwnThread(ThreadState& thread, bool slow)
    : thread_(thread),
      slow_(slow && why_not(false) != nullptr),
      sign_{this, 0},
      uses_(first_use),
      process_(::getpid()) {
  expect_exit();
  home_.take();
  for (const PerThreadUse* at = uses_; at != nullptr; at = at->next_) {
    if (at->prepare_ != nullptr) at->prepare_();
    variables_.push_back(&at->variable_());
  }
  ::pthread_barrier_init(&is_ready_, nullptr, 2);
  ::pthread_barrier_init(&is_over_, nullptr, 2);
  int error = 0;
  {
    const SignalsBlocked blocked;
    error = ::pthread_create(&helper_, nullptr, park_entry, this);
  }
  if (error != 0) raise_os_error(error, "cannot start the thread for a fiber's own state");
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
  platform::prepare_to_lend();
  own_.take();
  id_ = static_cast<int>(platform::thread_number());
  serve(&thread_);
  ::pthread_barrier_wait(&is_ready_);
  ::pthread_barrier_wait(&is_over_);
  // The destructors of thread_local objects run on this thread, which has no fibers.
  serve(nullptr);
}

// Makes the helper's variables of this library stand for those of `thread`, or for none.
void OwnThread::serve(ThreadState* thread) noexcept {
  tls_thread_state = thread;
  auto variable = variables_.begin();
  for (const PerThreadUse* at = uses_; at != nullptr; at = at->next_)
    at->variable_().home_ = thread != nullptr ? *variable++ : nullptr;
}

[[gnu::noinline]] FIBER_SWITCHES_STACK void OwnThread::lend() noexcept {
  thread_.lent = this;
  thread_.exceptions = &sign_;
  thread_.error_number = own_.error_number;
  platform::set_thread_pointer(own_.pointer, slow_);
}

[[gnu::noinline]] FIBER_SWITCHES_STACK void OwnThread::take_back() noexcept {
  platform::set_thread_pointer(home_.pointer, slow_);
  thread_.lent = nullptr;
  thread_.exceptions = home_.exceptions;
  thread_.error_number = home_.error_number;
}

[[gnu::noinline]] FIBER_SWITCHES_STACK void OwnThread::run(void (*function)(void* argument),
                                                           void* argument) noexcept {
  lend();
  sanitizer::thread_lent(&parked_, thread_.stack);
  function(argument);
  sanitizer::thread_taken_back(&parked_);
  take_back();
}

bool OwnThread::is_of_this_thread(int id) noexcept {
  if (tls_thread_state == nullptr) return false;
  for (const OwnThread& each : tls_thread_state->own_threads)
    if (each.id_ == id) return true;
  return false;
}

}  // namespace fiber::core
