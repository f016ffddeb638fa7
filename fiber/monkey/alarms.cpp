#include <fiber/monkey/alarms.hpp>
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/memory.hpp>
#include <fiber/monkey/real.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>

#include <pthread.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

namespace fiber::monkey::detail {

namespace {

std::int64_t monotonic() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return nanoseconds(now);
}

std::int64_t nanoseconds_of(const timeval& time) noexcept {
  return nanoseconds(timespec{.tv_sec = time.tv_sec, .tv_nsec = time.tv_usec * 1000});
}

// Rounds up: zero would stand for no timer.
timeval timeval_of(std::int64_t time) noexcept {
  const std::int64_t micros = time / 1000 + (time % 1000 != 0 ? 1 : 0);
  return {.tv_sec = static_cast<time_t>(micros / 1'000'000),
          .tv_usec = static_cast<suseconds_t>(micros % 1'000'000)};
}

}  // namespace

// The process's ITIMER_REAL. Signal handlers may use it: while it is locked, the thread has none.
struct RealTimer {
  class Lock {
   public:
    Lock() noexcept {
      sigset_t all;
      ::sigfillset(&all);
      ::pthread_sigmask(SIG_SETMASK, &all, &before_);
      while (busy.test_and_set(std::memory_order_acquire)) real().sched_yield();
    }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    ~Lock() {
      busy.clear(std::memory_order_release);
      ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }

   private:
    sigset_t before_;
  };

  // Returns what the timer would say if it had not been put away.
  static itimerval put_away() noexcept {
    // The clock of another thread's loop is not this thread's to read.
    const bool is_ours = away->call_.task().loop() == own_loop();
    const std::int64_t left =
        is_ours ? away->due_ - away->call_.now() : away->left_ - (monotonic() - away->since_);
    return {.it_interval = timeval_of(away->interval_),
            .it_value = timeval_of(std::max<std::int64_t>(left, 1000))};
  }
  // After a change of the timer, by the task if the call is in one.
  static void changed(const Call& call, bool set) noexcept {
    away = nullptr;
    if (++latest == 0) ++latest;
    // All signals interrupt the calls of some tasks anyway.
    if (call && set && !is_interrupted_by_signals(call.task()))
      call.task().library_calls().alarm = latest;
  }
  static bool is_of(const TaskBase& task) noexcept {
    return const_cast<TaskBase&>(task).library_calls().alarm == latest;
  }

  static inline std::atomic_flag busy;
  static inline AlarmOfWait* away = nullptr;  // the wait for which the kernel's timer is put away
  // The number of the latest change: a task has set the alarm if it has this number.
  static inline std::atomic<std::uint32_t> latest{1};
};

AlarmOfWait::AlarmOfWait(const Call& call) noexcept : call_(call) {
  if (!RealTimer::is_of(call.task()) || in_foreign_process()) [[likely]]
    return;
  const RealTimer::Lock lock;
  if (!RealTimer::is_of(call.task())) return;
  const itimerval none{};
  itimerval was{};
  if (real().setitimer(ITIMER_REAL, &none, &was) != 0) return;
  left_ = nanoseconds_of(was.it_value);
  if (left_ == 0) return;  // it has rung, or unpatched code has called it off
  interval_ = nanoseconds_of(was.it_interval);
  since_ = monotonic();
  due_ = call.deadline_after(left_);
  RealTimer::away = this;
}

AlarmOfWait::~AlarmOfWait() {
  if (due_ == kNever) return;
  const RealTimer::Lock lock;
  if (RealTimer::away != this) return;
  RealTimer::away = nullptr;
  const std::int64_t left = std::max<std::int64_t>(due_ - call_.now(), 1000);
  const itimerval value{.it_interval = timeval_of(interval_), .it_value = timeval_of(left)};
  real().setitimer(ITIMER_REAL, &value, nullptr);
}

bool AlarmOfWait::rings() noexcept {
  if (due_ == kNever) return false;
  const RealTimer::Lock lock;
  if (RealTimer::away != this || call_.now() < due_) return false;
  RealTimer::away = nullptr;
  due_ = kNever;
  if (interval_ != 0) {
    const itimerval next{.it_interval = timeval_of(interval_), .it_value = timeval_of(interval_)};
    real().setitimer(ITIMER_REAL, &next, nullptr);
  }
  return true;
}

// By system calls: in a task with own_thread_state, libc's raise() is for the helper thread.
Interruption raise_alarm() noexcept {
  sigset_t mask;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  struct sigaction action {};
  ::sigaction(SIGALRM, nullptr, &action);
  siginfo_t info{};
  info.si_signo = SIGALRM;
  info.si_code = SI_KERNEL;
  if (::sigismember(&mask, SIGALRM) == 1) {  // pending for the process, as the kernel's would be
    if (real().syscall(SYS_rt_sigqueueinfo, ::getpid(), SIGALRM, &info) != 0)
      ::kill(::getpid(), SIGALRM);
    return Interruption::none;
  }
  const Cancel policy = PolicyOfCall::set(Cancel::error);
  const auto thread = static_cast<pid_t>(real().syscall(SYS_gettid));
  if (real().syscall(SYS_rt_tgsigqueueinfo, ::getpid(), thread, SIGALRM, &info) != 0)
    real().syscall(SYS_tgkill, ::getpid(), thread, SIGALRM);
  PolicyOfCall::set(policy);
  const bool has_handler = (action.sa_flags & SA_SIGINFO) != 0 ||
                           (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN);
  if (!has_handler) return Interruption::none;
  return (action.sa_flags & SA_RESTART) != 0 ? Interruption::restarts : Interruption::interrupts;
}

void forget_alarm() noexcept {
  RealTimer::away = nullptr;
  ++RealTimer::latest;
  RealTimer::busy.clear();
}

namespace {

unsigned alarm_(unsigned seconds) noexcept {
  const Call call;
  if (in_foreign_process()) return real().alarm(seconds);
  const RealTimer::Lock lock;
  const bool was_away = RealTimer::away != nullptr;
  const itimerval was = was_away ? RealTimer::put_away() : itimerval{};
  const unsigned before = real().alarm(seconds);
  RealTimer::changed(call, seconds != 0);
  if (!was_away) return before;
  // Rounded as the kernel does it.
  const auto left = static_cast<unsigned>(was.it_value.tv_sec);
  return left + (was.it_value.tv_usec >= 500'000 || left == 0 ? 1 : 0);
}

int setitimer_(itimer_which which, const itimerval* value, itimerval* before) noexcept {
  const Call call;
  if (which != ITIMER_REAL || !is_readable(value) || in_foreign_process())
    return real().setitimer(which, value, before);
  const RealTimer::Lock lock;
  const bool was_away = RealTimer::away != nullptr;
  const itimerval was = was_away ? RealTimer::put_away() : itimerval{};
  itimerval old{};
  if (real().setitimer(which, value, &old) != 0) return -1;
  RealTimer::changed(call, value->it_value.tv_sec != 0 || value->it_value.tv_usec != 0);
  return before == nullptr || give(before, was_away ? was : old) ? 0 : -1;
}

int getitimer_(itimer_which which, itimerval* value) noexcept {
  if (which != ITIMER_REAL || value == nullptr || in_foreign_process())
    return real().getitimer(which, value);
  const RealTimer::Lock lock;
  if (RealTimer::away == nullptr) return real().getitimer(which, value);
  return give(value, RealTimer::put_away()) ? 0 : -1;
}

useconds_t ualarm_(useconds_t value, useconds_t interval) noexcept {
  const auto time_of = [](useconds_t time) { return timeval_of(std::int64_t{time} * 1000); };
  const itimerval wanted{.it_interval = time_of(interval), .it_value = time_of(value)};
  itimerval before{};
  if (setitimer_(ITIMER_REAL, &wanted, &before) != 0) return static_cast<useconds_t>(-1);
  return static_cast<useconds_t>(before.it_value.tv_sec * 1'000'000 + before.it_value.tv_usec);
}

// Waits for the alarm of the task; other signals end pause() only in unpatched code.
int pause_() noexcept {
  const Call call;
  const auto is_awaited = [&] {
    itimerval now{};
    return is_interrupted_by_signals(call.task()) ||
           (RealTimer::is_of(call.task()) && getitimer_(ITIMER_REAL, &now) == 0 &&
            nanoseconds_of(now.it_value) != 0);
  };
  if (!call || !is_awaited()) return real().pause();
  call.wait(std::span<DescriptorWait>(), kNever);
  return -1;
}

}  // namespace

std::span<const Hook> alarm_hooks() noexcept {
  static const Hook hooks[] = {
      plain_hook<alarm_>("alarm"),
      plain_hook<setitimer_>("setitimer"),
      plain_hook<getitimer_>("getitimer"),
      plain_hook<ualarm_>("ualarm"),
      hook<pause_>("pause"),
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
