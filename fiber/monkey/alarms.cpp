#include <fiber/monkey/alarms.hpp>
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/memory.hpp>
#include <fiber/monkey/real.hpp>

#include <atomic>
#include <csignal>

#include <pthread.h>
#include <sys/time.h>
#include <unistd.h>

namespace fiber::monkey::detail {
namespace {

// One owner for the process, like the alarm. A reference to the owner is held, so that no other
// task gets its address.
std::atomic<TaskBase*> owner{nullptr};
std::int64_t due = kNever;
struct sigaction handler_of_program;

void on_alarm(int signal, siginfo_t* info, void* context);

bool is_installed() noexcept {
  struct sigaction now {};
  return ::sigaction(SIGALRM, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) != 0 &&
         now.sa_sigaction == on_alarm;
}

// Installs the program's handler again, and returns the owner. May be called in signal handlers.
TaskBase* take_off() noexcept {
  TaskBase* task = owner.exchange(nullptr);
  if (task != nullptr && is_installed()) ::sigaction(SIGALRM, &handler_of_program, nullptr);
  return task;
}

void disarm() noexcept {
  TaskBase* task = take_off();
  // The count may not be changed from another thread: a task of another thread's loop leaks.
  if (task != nullptr && task->loop() == own_loop()) task->release();
}

void call_handler(const struct sigaction& action, siginfo_t* info, void* context) {
  if ((action.sa_flags & SA_SIGINFO) != 0)
    action.sa_sigaction(SIGALRM, info, context);
  else if (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN)
    action.sa_handler(SIGALRM);
}

void on_alarm(int, siginfo_t* info, void* context) {
  const int error = errno;
  TaskBase* task = owner.load();
  const asyncio::detail::LoopObject* loop = own_loop();
  const bool waits =
      task != nullptr && !task->done() && (loop == nullptr || loop->turns().current_task != task);
  if (!waits) {
    take_off();  // the reference is kept: a signal handler may not free memory
    call_handler(handler_of_program, info, context);
  }
  errno = error;
}

// Makes the task the owner of the alarm that rings after so many nanoseconds, if the program has a
// handler.
void arm(const Call& call, std::int64_t after) noexcept {
  if (is_interrupted_by_signals(call.task())) return;  // all signals interrupt this task anyway
  struct sigaction action {};
  if (::sigaction(SIGALRM, nullptr, &action) != 0) return;
  if ((action.sa_flags & SA_SIGINFO) == 0 &&
      (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN))
    return;
  handler_of_program = action;
  action.sa_sigaction = on_alarm;
  action.sa_flags = (action.sa_flags | SA_SIGINFO) & ~static_cast<int>(SA_RESETHAND);
  due = call.deadline_after(after);
  call.task().retain();
  owner.store(&call.task());
  ::sigaction(SIGALRM, &action, nullptr);
}

unsigned alarm_(unsigned seconds) noexcept {
  const Call call;
  disarm();
  if (call && seconds != 0) {
    const unsigned before = real().alarm(0);
    arm(call, seconds * kSecond);
    real().alarm(seconds);
    return before;
  }
  return real().alarm(seconds);
}

// An alarm that rings once belongs to the task; repeated ones are left to the program.
int setitimer_(itimer_which which, const itimerval* value, itimerval* before) noexcept {
  const Call call;
  if (which != ITIMER_REAL || !is_readable(value)) return real().setitimer(which, value, before);
  disarm();
  const bool once = value->it_interval.tv_sec == 0 && value->it_interval.tv_usec == 0;
  const timespec first{.tv_sec = value->it_value.tv_sec, .tv_nsec = value->it_value.tv_usec * 1000};
  if (!call || !once || !is_valid(first) || nanoseconds(first) == 0)
    return real().setitimer(which, value, before);
  const itimerval none{};
  const bool told = real().setitimer(which, &none, before) == 0;
  const int error = errno;
  arm(call, nanoseconds(first));
  const int result = real().setitimer(which, value, nullptr);
  if (result != 0 || told) return result;
  errno = error;
  return -1;
}

useconds_t ualarm_(useconds_t value, useconds_t interval) noexcept {
  const auto time_of = [](useconds_t time) {
    return timeval{.tv_sec = static_cast<time_t>(time / 1'000'000),
                   .tv_usec = static_cast<suseconds_t>(time % 1'000'000)};
  };
  const itimerval wanted{.it_interval = time_of(interval), .it_value = time_of(value)};
  itimerval before{};
  if (setitimer_(ITIMER_REAL, &wanted, &before) != 0) return static_cast<useconds_t>(-1);
  return static_cast<useconds_t>(before.it_value.tv_sec * 1'000'000 + before.it_value.tv_usec);
}

// Waits for the alarm of the task; other signals end pause() only in unpatched code.
int pause_() noexcept {
  const Call call;
  if (!call || (alarm_of(call.task()) == kNever && !is_interrupted_by_signals(call.task())))
    return real().pause();
  call.wait(std::span<DescriptorWait>(), kNever);
  return -1;
}

}  // namespace

std::int64_t alarm_of(const TaskBase& task) noexcept {
  return owner.load(std::memory_order_relaxed) == &task ? due : kNever;
}

bool run_alarm_handler() {
  const struct sigaction action = handler_of_program;
  // Turns the alarm off. The signal may have arrived already, or be about to arrive.
  sigset_t alone, blocked, before;
  ::sigemptyset(&alone);
  ::sigaddset(&alone, SIGALRM);
  ::pthread_sigmask(SIG_BLOCK, &alone, &before);
  real().alarm(0);
  const timespec none{};
  while (real().sigtimedwait(&alone, nullptr, &none) == SIGALRM) {
  }
  disarm();
  if ((action.sa_flags & SA_RESETHAND) != 0) ::signal(SIGALRM, SIG_DFL);
  blocked = before;
  for (int signal = 1; signal < NSIG; ++signal)
    if (::sigismember(&action.sa_mask, signal) == 1) ::sigaddset(&blocked, signal);
  if ((action.sa_flags & SA_NODEFER) == 0) ::sigaddset(&blocked, SIGALRM);
  ::pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
  siginfo_t info{};
  info.si_signo = SIGALRM;
  info.si_code = SI_KERNEL;
  const Cancel policy = PolicyOfCall::set(Cancel::error);
  call_handler(action, &info, nullptr);
  PolicyOfCall::set(policy);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return (action.sa_flags & SA_RESTART) != 0;
}

std::span<const Hook> alarm_hooks() noexcept {
  static const Hook hooks[] = {
      plain_hook<alarm_>("alarm"),
      plain_hook<setitimer_>("setitimer"),
      plain_hook<ualarm_>("ualarm"),
      hook<pause_>("pause"),
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
