// The waiting of patched calls: on the loop of the thread, in the running task.
#pragma once

#include <fiber/asyncio/base_tasks.hpp>
#include <fiber/asyncio/descriptor_wait.hpp>
#include <fiber/asyncio/threads.hpp>
#include <fiber/asyncio/waiter.hpp>
#include <fiber/monkey.hpp>
#include <fiber/monkey/interruptions.hpp>

#include <cerrno>
#include <cstdint>
#include <ctime>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <utility>

namespace fiber::monkey::detail {

using asyncio::detail::DescriptorWait;
using asyncio::detail::TaskBase;

inline constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

inline constexpr std::int64_t kSecond = 1'000'000'000;

inline bool is_valid(const timespec& time) noexcept {
  return time.tv_sec >= 0 && time.tv_nsec >= 0 && time.tv_nsec < kSecond;
}
// Returns a valid time in nanoseconds; a time of centuries is cut to fit.
inline std::int64_t nanoseconds(const timespec& time) noexcept {
  return time.tv_sec > kNever / kSecond - 2 ? kNever - 1 : time.tv_sec * kSecond + time.tv_nsec;
}

// Whether libc's functions with a time limit accept it.
inline bool is_limit(clockid_t clock, const timespec& until) noexcept {
  return (clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC) && is_valid(until);
}

enum class Wake : std::uint8_t {
  ready,
  timed_out,
  failed,       // errno has the reason
  cancelled,    // internal: the callers of wait() get `failed`
  unwatchable,  // a file on a disk, for example: a call blocks, or returns at once
};

// The policy for calls made while it lives: set by the replacements for objects with another
// policy. Put away while waiting, because other tasks run.
class PolicyOfCall {
 public:
  explicit PolicyOfCall(Cancel how) noexcept { next = how; }
  PolicyOfCall(const PolicyOfCall&) = delete;
  PolicyOfCall& operator=(const PolicyOfCall&) = delete;
  ~PolicyOfCall() { next = Cancel::error; }
  static Cancel get() noexcept { return next; }
  // Sets the policy, and returns the old one.
  static Cancel set(Cancel how) noexcept { return std::exchange(next, how); }

 private:
  static inline thread_local constinit Cancel next = Cancel::error;
};

// One patched call. Converts to false if the call must behave like libc's: this thread runs no
// loop, or no task, or the process is a child that was forked in a task.
class Call {
 public:
  Call() noexcept;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call() = default;
  explicit operator bool() const noexcept { return task_ != nullptr; }

  // Returns the result of a call; after success, errno gets its value from before the call.
  template <class T>
  T done(T result) const noexcept {
    if (result >= 0) errno = error_;
    return result;
  }

  // Returns the result of a call that was made unchanged. In a cancelled task, turns EAGAIN into
  // the error of a call that was cut short: a library that polls, takes the error of poll for
  // readiness, and tries again, comes to an end.
  template <class T>
  T tried(T result) const noexcept {
    if (result < 0 && errno == EAGAIN && task_ != nullptr && task_->has_told_library())
      would_wait();
    return result;
  }
  // Sets errno for a call that would have to wait but must not.
  void would_wait() const noexcept;

  // The task that calls.
  TaskBase& task() const noexcept { return *task_; }

  // On the loop's clock, in nanoseconds.
  std::int64_t now() const noexcept;
  std::int64_t deadline_after(std::int64_t nanoseconds) const noexcept;
  // Converts the time `until` of another clock; a time in the past becomes now.
  std::int64_t deadline_at(clockid_t clock, const timespec& until) const noexcept;

  // `restarts`: goes on after a handler with SA_RESTART, as read() does and poll() does not.
  Wake wait(int fd, std::uint32_t events, std::int64_t deadline,
            bool restarts = true) const noexcept;
  // Waits for a ready descriptor, or until the waiter in `shown` is woken, or perhaps earlier.
  Wake wait(std::span<DescriptorWait> descriptors, std::int64_t deadline,
            asyncio::detail::Waiter** shown = nullptr) const noexcept;
  // Waits until the waiter in `shown` is woken, or earlier. No handler of a signal runs meanwhile:
  // it could jump away. Fails if the task ends with its loop, or lacks memory.
  Wake wait_undisturbed(asyncio::detail::Waiter** shown) const noexcept;
  // Returns timed_out or failed. `restart`: goes on after a handler with SA_RESTART.
  Wake sleep_until(std::int64_t deadline, bool restart = false) const noexcept;
  // Makes waiting end as ready when signals are pending, so that the call is tried once more before
  // their handlers run, as in the kernel: a handler of SIGCHLD must not take the child first.
  void look_before_handlers() noexcept { looks_first_ = true; }
  // From now on a handler ends the call even with SA_RESTART: something has been done, of which the
  // call tells.
  void progress() const noexcept { has_progress_ = true; }
  // Of a Holding. Returns false if the call has held something before.
  bool begins_to_hold() const noexcept { return !std::exchange(holds_, true); }

  // Runs `function` on a thread of the default executor and stores its result. `function` must own
  // its data, since it goes on when the task is cancelled. Returns false with errno set; ENOSYS if
  // the executor was shut down.
  template <class F, class T>
  bool on_thread(F function, T& result) const noexcept {
    try {
      const auto answer =
          asyncio::EventLoop(task_->loop()).run_in_executor(nullptr, std::move(function));
      const auto waiter = std::make_shared<asyncio::detail::Waiter*>(nullptr);
      answer.add_done_callback([waiter](const auto&) {
        if (*waiter != nullptr) (*waiter)->wake();
      });
      while (!answer.done()) {
        if (wait(std::span<DescriptorWait>(), kNever, waiter.get()) != Wake::failed) continue;
        answer.cancel();
        return false;
      }
      result = std::move(answer.result());  // no other reference exists
      errno = error_;
      return true;
    } catch (...) {
      fail();
      return false;
    }
  }

 private:
  Wake fail() const noexcept;
  Wake wait_for(std::span<DescriptorWait> descriptors, std::int64_t deadline,
                asyncio::detail::Waiter** shown, bool restarts) const noexcept;
  Wake wait_for_signals_too(std::span<DescriptorWait> descriptors, std::int64_t deadline,
                            asyncio::detail::Waiter** shown, bool restarts) const noexcept;
  Wake wait_unless_cancelled(std::span<DescriptorWait> descriptors, std::int64_t deadline,
                             asyncio::detail::Waiter** shown) const noexcept;
  Wake wait_once(std::span<DescriptorWait> descriptors, std::int64_t deadline,
                 asyncio::detail::Waiter** shown) const noexcept;
  Wake wait_although_cancelled(std::span<DescriptorWait> descriptors, std::int64_t deadline,
                               asyncio::detail::Waiter** shown) const noexcept;
  std::int64_t patience_when_cancelled() const noexcept;
  Wake cut_short() const noexcept;

  // Signals of the process that may interrupt the call: blocked from its first wait to its end.
  struct Signals {
    HeldSignals held;
    DescriptorWait wait;
  };

  TaskBase* task_ = nullptr;
  Cancel cancel_ = Cancel::error;
  int error_ = errno;
  bool looks_first_ = false;
  mutable bool has_progress_ = false;
  mutable bool holds_ = false;
  mutable bool has_looked_ = false;
  mutable std::optional<Signals> signals_;
};

// Pauses between attempts if no event reports that one can succeed; each pause is longer.
class Backoff {
 public:
  // Returns false with errno set; EAGAIN after the deadline. `restart`: see Call::sleep_until.
  bool pause(const Call& call, std::int64_t deadline = kNever, bool restart = true) noexcept;

 private:
  std::int64_t pause_ = 500'000;
};

// Whether a patched call may wait on the loop: this thread runs a task.
bool is_in_task() noexcept;

// Returns the loop that this thread runs; null if there is none, or if it is the parent process's.
asyncio::detail::LoopObject* own_loop() noexcept;

// Whether memory is shared with the parent, between vfork and exec, or a fork was made without
// libc.
bool in_foreign_process() noexcept;
// Returns the number of forks since the first patch: each one changes the thread's id.
unsigned forks() noexcept;
// Must be called before the first patch.
void prepare_for_fork() noexcept;

}  // namespace fiber::monkey::detail
