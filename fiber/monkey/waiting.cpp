#include <fiber/asyncio/selectors.hpp>
#include <fiber/monkey/alarms.hpp>
#include <fiber/monkey/holding.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/state.hpp>
#include <fiber/monkey/stdio.hpp>
#include <fiber/monkey/threads.hpp>
#include <fiber/monkey/waiting.hpp>

#include <fiber/asyncio/stubborn.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/asyncio/waiter.hpp>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <new>

#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

namespace fiber::monkey::detail {
namespace {

using asyncio::detail::LoopObject;
using asyncio::detail::Waiter;

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kCentisecond = 10 * kMillisecond;

// The number of calls of a cancelled task that fail at once; later calls wait a little first.
constexpr std::uint8_t kFruitlessCalls = 16;
// The number of further calls after which the task is reported.
constexpr std::uint8_t kReported = 4;

// The parent's loop that the forking thread ran: its epoll is shared with the parent.
std::atomic<const LoopObject*> inherited_loop{nullptr};
std::atomic<pid_t> process{0};
std::atomic<unsigned> fork_count{1};

void in_forked_child() {
  inherited_loop = asyncio::detail::running_loop_or_null();
  process = ::getpid();
  forget_alarm();
  fork_count.fetch_add(1, std::memory_order_relaxed);
  forget_waiting_tasks();
}

// Wakes the waiter when its time is over. On the heap: the callback may still be in the ready queue
// when the task goes on for another reason.
class Alarm {
 public:
  Alarm(LoopObject& loop, Waiter& waiter, std::int64_t deadline) {
    if (deadline == kNever) return;
    timer_ = asyncio::EventLoop(&loop).call_at(std::chrono::nanoseconds(deadline), [this, &waiter] {
      rang_ = true;
      waiter.wake();
    });
  }
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;
  ~Alarm() {
    if (timer_) timer_.cancel();
  }
  bool rang() const noexcept { return rang_; }

 private:
  asyncio::TimerHandle timer_;
  bool rang_ = false;
};

// Between vfork() and exec() the thread runs on in the child, with the memory of the parent, whose
// loop must not turn there: the call blocks.
Wake block(std::span<const DescriptorWait> descriptors, std::int64_t time) noexcept {
  constexpr std::size_t kMost = 64;
  pollfd all[kMost];
  nfds_t count = 0;
  for (const DescriptorWait& each : descriptors.first(std::min(kMost, descriptors.size())))
    all[count++] = {.fd = each.fd, .events = static_cast<short>(each.events), .revents = 0};
  const timespec limit{.tv_sec = time / kSecond, .tv_nsec = time % kSecond};
  const int result = real().ppoll(all, count, time < 0 ? nullptr : &limit, nullptr);
  if (result == 0) return Wake::timed_out;
  return result > 0 ? Wake::ready : Wake::failed;
}

}  // namespace

void prepare_for_fork() noexcept {
  static std::once_flag once;
  std::call_once(once, [] {
    process = ::getpid();
    ::pthread_atfork(nullptr, nullptr, in_forked_child);
  });
}

bool in_foreign_process() noexcept { return ::getpid() != process.load(std::memory_order_relaxed); }

unsigned forks() noexcept { return fork_count.load(std::memory_order_relaxed); }

LoopObject* own_loop() noexcept {
  LoopObject* loop = asyncio::detail::running_loop_or_null();
  return loop != inherited_loop.load(std::memory_order_relaxed) ? loop : nullptr;
}

bool is_in_task() noexcept {
  const LoopObject* loop = own_loop();
  return loop != nullptr && loop->turns().current_task != nullptr;
}

Call::Call() noexcept {
  const LoopObject* loop = own_loop();
  if (loop != nullptr) task_ = loop->turns().current_task;
  cancel_ = PolicyOfCall::get();
}

std::int64_t Call::now() const noexcept { return task_->loop()->now(); }

std::int64_t Call::deadline_after(std::int64_t nanoseconds) const noexcept {
  const std::int64_t at = now();
  return nanoseconds > kNever - 1 - at ? kNever - 1 : at + std::max<std::int64_t>(nanoseconds, 0);
}

std::int64_t Call::deadline_at(clockid_t clock, const timespec& until) const noexcept {
  timespec other{};
  ::clock_gettime(clock, &other);
  return deadline_after(nanoseconds(until) - nanoseconds(other));
}

Wake Call::wait(int fd, std::uint32_t events, std::int64_t deadline, bool restarts) const noexcept {
  DescriptorWait one{.fd = fd, .events = events};
  return wait_for(std::span(&one, 1), deadline, nullptr, restarts);
}

Wake Call::wait(std::span<DescriptorWait> descriptors, std::int64_t deadline,
                Waiter** shown) const noexcept {
  return wait_for(descriptors, deadline, shown, shown != nullptr);
}

Wake Call::wait_undisturbed(Waiter** shown) const noexcept {
  const AlarmOfWait later(*this);
  return wait_unless_cancelled({}, kNever, shown);
}

Wake Call::wait_for(std::span<DescriptorWait> descriptors, std::int64_t deadline, Waiter** shown,
                    bool restarts) const noexcept {
  restarts = restarts && !has_progress_;
  if (!holds_) Holding::let_go_of_lost(*this);
  if (is_interrupted_by_signals(*task_)) [[unlikely]]
    return wait_for_signals_too(descriptors, deadline, shown, restarts);
  for (;;) {
    {
      AlarmOfWait alarm(*this);
      const Wake wake = wait_unless_cancelled(descriptors, std::min(deadline, alarm.due()), shown);
      if (wake != Wake::timed_out) return wake;
      if (!alarm.rings()) {
        if (deadline <= now()) return wake;
        continue;  // the alarm was called off or set anew meanwhile
      }
    }
    const TurnsPutAway turns(*task_);
    const Interruption interruption = raise_alarm();
    if (interruption == Interruption::none || (interruption == Interruption::restarts && restarts))
      continue;
    errno = EINTR;
    return Wake::failed;
  }
}

Wake Call::wait_for_signals_too(std::span<DescriptorWait> descriptors, std::int64_t deadline,
                                Waiter** shown, bool restarts) const noexcept {
  for (;;) {
    if (!signals_) signals_.emplace();
    signals_->wait = {.fd = signals_->held.descriptor(), .events = EPOLLIN};
    if (signals_->wait.fd < 0) signals_.reset();
    const Wake wake = wait_unless_cancelled(descriptors, deadline, shown);
    if (!signals_) return wake;
    const bool has_other_reason =
        std::any_of(descriptors.begin(), descriptors.end(),
                    [](const DescriptorWait& each) { return each.ready != 0; });
    if (wake != Wake::ready || signals_->wait.ready == 0 || has_other_reason) return wake;
    if (looks_first_ && !std::exchange(has_looked_, true)) return wake;
    has_looked_ = false;
    const PolicyOfCall policy(Cancel::error);
    const TurnsPutAway turns(*task_);
    const HeldSignals::Came came = signals_->held.let_come();
    if (came == HeldSignals::Came::nothing) continue;
    if (came == HeldSignals::Came::restarting && restarts) continue;
    errno = EINTR;
    return Wake::failed;
  }
}

Wake Call::wait_unless_cancelled(std::span<DescriptorWait> descriptors, std::int64_t deadline,
                                 Waiter** shown) const noexcept {
  if (task_->has_told_library()) [[unlikely]]
    return wait_although_cancelled(descriptors, deadline, shown);
  const Wake wake = wait_once(descriptors, deadline, shown);
  if (wake != Wake::cancelled) return wake;
  if (cancel_ != Cancel::never && !task_->library_calls().shielded) return cut_short();
  // The waiter may have been woken after it was cancelled: the caller looks.
  if (shown != nullptr) return Wake::ready;
  return wait_although_cancelled(descriptors, deadline, shown);
}

Wake Call::cut_short() const noexcept {
  errno = cancel_ == Cancel::interrupt ? EINTR : ECANCELED;
  return Wake::failed;
}

// Returns how long a call of a cancelled task may wait: forever, or the rest of grace(), or, if the
// library repeats its calls, longer each time, so that other tasks get a turn.
std::int64_t Call::patience_when_cancelled() const noexcept {
  if (task_->abandoned()) return 0;
  if (cancel_ == Cancel::never) return kNever;
  TaskBase::LibraryCalls& calls = task_->library_calls();
  if (calls.shielded || calls.grace != 0) return calls.grace * kCentisecond;
  if (calls.fruitless < kFruitlessCalls) {
    ++calls.fruitless;
    return 0;
  }
  constexpr std::uint8_t kMostDoublings = 8;
  const int doublings = std::min<int>(calls.fruitless - kFruitlessCalls, kMostDoublings);
  if (doublings < kMostDoublings && ++calls.fruitless == kFruitlessCalls + kReported)
    asyncio::detail::report_stubborn(*task_);
  return kMillisecond << doublings;
}

Wake Call::wait_although_cancelled(std::span<DescriptorWait> descriptors, std::int64_t deadline,
                                   Waiter** shown) const noexcept {
  for (;;) {
    const std::int64_t patience = patience_when_cancelled();
    if (patience <= 0) return cut_short();
    const std::int64_t start = now();
    const std::int64_t end = patience == kNever ? kNever : deadline_after(patience);
    task_->put_cancellation_off();
    const Wake wake = wait_once(descriptors, std::min(deadline, end), shown);
    task_->put_cancellation_back();
    TaskBase::LibraryCalls& calls = task_->library_calls();
    if (patience != kNever && calls.grace != 0) {
      const std::int64_t used = (now() - start + kCentisecond - 1) / kCentisecond;
      calls.grace =
          static_cast<std::uint16_t>(calls.grace - std::min<std::int64_t>(calls.grace, used));
    }
    if (wake == Wake::cancelled) {
      // Another cancellation ends the time of grace().
      if (cancel_ != Cancel::never && !calls.shielded) return cut_short();
      if (shown != nullptr) return Wake::ready;
      continue;
    }
    return wake == Wake::timed_out && end < deadline ? cut_short() : wake;
  }
}

void Call::would_wait() const noexcept {
  errno = EAGAIN;
  if (!task_->has_told_library() || cancel_ != Cancel::error) return;
  TaskBase::LibraryCalls& calls = task_->library_calls();
  if (calls.shielded || calls.grace != 0) return;
  const std::int64_t patience = patience_when_cancelled();
  if (patience > 0) {
    task_->put_cancellation_off();
    wait_once({}, deadline_after(patience), nullptr);
    task_->put_cancellation_back();
  }
  errno = ECANCELED;
}

Wake Call::wait_once(std::span<DescriptorWait> descriptors, std::int64_t deadline,
                     Waiter** shown) const noexcept {
  if (in_foreign_process()) [[unlikely]]
    return block(descriptors,
                 deadline == kNever ? -1 : std::max<std::int64_t>(deadline - now(), 0));
  LoopObject& loop = *task_->loop();
  struct Leave {
    LoopObject& loop;
    std::span<DescriptorWait> descriptors;
    DescriptorWait* signals;
    Waiter** shown;
    Cancel policy;
    ~Leave() {
      if (shown != nullptr) *shown = nullptr;
      if (signals != nullptr) loop.selector().leave(*signals);
      for (DescriptorWait& wait : descriptors) loop.selector().leave(wait);
      PolicyOfCall::set(policy);
    }
  };
  try {
    if (task_->abandoned()) throw asyncio::CancelledError();
    Waiter waiter(loop);
    if (shown != nullptr) *shown = &waiter;
    if (signals_) {
      signals_->wait.waiter = &waiter;
      // Without the descriptor, handlers run at any time, and interrupt nothing.
      if (loop.selector().wait(signals_->wait) != 0) signals_.reset();
    }
    const Leave leave{loop, descriptors, signals_ ? &signals_->wait : nullptr, shown,
                      PolicyOfCall::set(Cancel::error)};
    for (DescriptorWait& wait : descriptors) {
      wait.waiter = &waiter;
      const int error = loop.selector().wait(wait);
      if (error == EPERM && descriptors.size() == 1) return Wake::unwatchable;
      // One of many cannot be watched: wait for the others.
      if (error == 0 || error == EPERM || error == EINVAL || error == ELOOP) continue;
      errno = error;
      return Wake::failed;
    }
    const Alarm alarm(loop, waiter, deadline);
    {
      const StateOfThread state;
      waiter.wait();
    }
    for (const DescriptorWait& wait : descriptors) {
      if (wait.error == 0) continue;
      errno = wait.error;
      return Wake::failed;
    }
    return alarm.rang() ? Wake::timed_out : Wake::ready;
  } catch (...) {
    return fail();
  }
}

Wake Call::sleep_until(std::int64_t deadline, bool restart) const noexcept {
  return wait_for(std::span<DescriptorWait>(), deadline, nullptr, restart);
}

// Turns the exception that is being handled into errno and a result.
Wake Call::fail() const noexcept {
  try {
    throw;
  } catch (const asyncio::CancelledError& error) {
    // The next await of an abandoned task reports its end anyway.
    if (task_->abandoned()) return cut_short();
    if (!task_->has_told_library()) task_->library_calls().fruitless = 0;
    task_->told_library(error.what());
    return Wake::cancelled;
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
  } catch (const MemoryError&) {
    errno = ENOMEM;
  } catch (const GreenletExit&) {
    return cut_short();
  } catch (...) {
    errno = ENOSYS;
  }
  return Wake::failed;
}

bool Backoff::pause(const Call& call, std::int64_t deadline, bool restart) noexcept {
  const std::int64_t until = std::min(call.deadline_after(pause_), deadline);
  if (until <= call.now()) {
    errno = EAGAIN;
    return false;
  }
  constexpr std::int64_t kLongest = 25'000'000;
  pause_ = std::min(pause_ * 2, kLongest);
  const Wake wake = call.sleep_until(until, restart);
  return wake == Wake::timed_out || wake == Wake::ready;
}

}  // namespace fiber::monkey::detail
