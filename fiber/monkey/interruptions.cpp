#include <fiber/monkey/interruptions.hpp>

#include <fiber/monkey/descriptor.hpp>
#include <fiber/monkey/real.hpp>

#include <atomic>
#include <cerrno>

#include <fcntl.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace fiber::monkey::detail {
namespace {

std::atomic<const asyncio::detail::TaskBase*> interrupted{nullptr};

// One descriptor for the process, used by the thread that runs the task.
int first_number = 0;
int signals = -1;

constexpr int kFromProcessor[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};

sigset_t all_that_can_wait() noexcept {
  sigset_t set;
  ::sigfillset(&set);
  for (const int signal : kFromProcessor) ::sigdelset(&set, signal);
  return set;
}

// Returns `set` without the signals that the program itself has blocked.
sigset_t without(sigset_t set, const sigset_t& others) noexcept {
  for (int signal = 1; signal < NSIG; ++signal)
    if (::sigismember(&others, signal) == 1) ::sigdelset(&set, signal);
  return set;
}

void open_signals(const sigset_t& mask) noexcept {
  signals = -1;
  const Descriptor low(::signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC));
  if (low.get() < 0) return;
  signals = ::fcntl(low.get(), F_DUPFD_CLOEXEC, first_number);
}

// Closes the descriptor, unless other code has closed it: then its number may be another file's.
void close_signals() noexcept {
  const sigset_t none{};
  if (signals >= 0 && ::signalfd(signals, &none, 0) >= 0) ::close(signals);
  signals = -1;
}

}  // namespace

void let_signals_interrupt(const asyncio::detail::TaskBase* task, int first) noexcept {
  close_signals();
  first_number = first;
  interrupted.store(task, std::memory_order_relaxed);
}

bool is_interrupted_by_signals(const asyncio::detail::TaskBase& task) noexcept {
  return interrupted.load(std::memory_order_relaxed) == &task;
}

HeldSignals::HeldSignals() noexcept { hold(); }

HeldSignals::~HeldSignals() {
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  errno = error;
}

void HeldSignals::hold() noexcept {
  const sigset_t all = all_that_can_wait();
  ::pthread_sigmask(SIG_BLOCK, &all, &before_);
}

// Sets the mask each time: a failure shows that other code has closed the descriptor.
int HeldSignals::descriptor() const noexcept {
  const sigset_t mask = without(all_that_can_wait(), before_);
  if (signals < 0 || ::signalfd(signals, &mask, 0) < 0) open_signals(mask);
  return signals;
}

HeldSignals::Came HeldSignals::let_come() noexcept {
  sigset_t pending;
  if (::sigpending(&pending) != 0) ::sigemptyset(&pending);
  pending = without(pending, before_);
  Came came = Came::nothing;
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action {};
    if (::sigismember(&pending, signal) != 1 || ::sigaction(signal, nullptr, &action) != 0)
      continue;
    if ((action.sa_flags & SA_SIGINFO) == 0 &&
        (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN))
      continue;
    if ((action.sa_flags & SA_RESTART) == 0)
      came = Came::interrupting;
    else if (came == Came::nothing)
      came = Came::restarting;
  }
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);  // pending signals are delivered here
  hold();
  return came;
}

}  // namespace fiber::monkey::detail
