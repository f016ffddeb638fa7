// How a patched call waits: on the loop of the thread, in the task that runs.
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
// Of a valid time; one of centuries is cut.
inline std::int64_t nanoseconds(const timespec& time) noexcept {
  return time.tv_sec > kNever / kSecond - 2 ? kNever - 1 : time.tv_sec * kSecond + time.tv_nsec;
}

enum class Wake : std::uint8_t {
  ready,
  timed_out,
  failed,       // errno says why
  cancelled,    // not told to those who wait: they see a failure
  unwatchable,  // as a file on a disk: a call blocks, or returns at once
};

// How cancellation cuts the calls short that are made while it lives: set where an object with a
// policy of its own calls. Waiting puts it away, for other tasks run then.
class PolicyOfCall {
 public:
  explicit PolicyOfCall(Cancel how) noexcept { next = how; }
  PolicyOfCall(const PolicyOfCall&) = delete;
  PolicyOfCall& operator=(const PolicyOfCall&) = delete;
  ~PolicyOfCall() { next = Cancel::error; }
  static Cancel get() noexcept { return next; }
  // Returns the one before.
  static Cancel set(Cancel how) noexcept { return std::exchange(next, how); }

 private:
  static inline thread_local constinit Cancel next = Cancel::error;
};

// One patched call. False in a condition when the call has to do what libc's does: no loop runs in
// this thread, or no task in it, or the process is a child that was forked in one.
class Call {
 public:
  Call() noexcept;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call() = default;
  explicit operator bool() const noexcept { return task_ != nullptr; }

  // The result of a call that succeeded leaves errno as it was.
  template <class T>
  T done(T result) const noexcept {
    if (result >= 0) errno = error_;
    return result;
  }

  // The result of a call that was made as it is: in a cancelled task one that failed because it
  // would have to wait fails as one that was cut short, so that who asks for readiness, takes an
  // error for it and tries again comes to an end.
  template <class T>
  T tried(T result) const noexcept {
    if (result < 0 && errno == EAGAIN && task_ != nullptr && task_->has_told_library())
      would_wait();
    return result;
  }
  // Sets errno for a call that would have to wait and must not.
  void would_wait() const noexcept;

  // The task that calls.
  TaskBase& task() const noexcept { return *task_; }

  // On the loop's clock, in nanoseconds.
  std::int64_t now() const noexcept;
  std::int64_t deadline_after(std::int64_t nanoseconds) const noexcept;

  Wake wait(int fd, std::uint32_t events, std::int64_t deadline) const noexcept;
  // For the first that is ready, or until the waiter that is `shown` meanwhile is woken.
  Wake wait(std::span<DescriptorWait> descriptors, std::int64_t deadline,
            asyncio::detail::Waiter** shown = nullptr) const noexcept;
  // timed_out, or failed. `restart`: after a handler with SA_RESTART it goes on.
  Wake sleep_until(std::int64_t deadline, bool restart = false) const noexcept;
  // When signals have come, the call is tried once more before their handlers run, as the kernel
  // does: a handler of SIGCHLD takes no child from who waits for it. Waiting then ends as ready.
  void look_before_handlers() noexcept { looks_first_ = true; }

  // Runs `function` on a thread of the default executor and stores what it returns; it must own
  // what it uses, since it goes on when the task is cancelled. False: errno is set. It is ENOSYS
  // when there is no executor any more.
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
      result = std::move(answer.result());  // nobody else sees it
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

  // Signals of the process that may interrupt the call: held from its first wait to its end.
  struct Signals {
    HeldSignals held;
    DescriptorWait wait;
  };

  TaskBase* task_ = nullptr;
  Cancel cancel_ = Cancel::error;
  int error_ = errno;
  bool looks_first_ = false;
  mutable bool has_looked_ = false;
  mutable std::optional<Signals> signals_;
};

// What is tried again and again where nothing tells when it will succeed: longer pauses each time.
class Backoff {
 public:
  // False: errno is set; EAGAIN when the deadline has come. `restart`: see Call::sleep_until.
  bool pause(const Call& call, std::int64_t deadline = kNever, bool restart = true) noexcept;

 private:
  std::int64_t pause_ = 500'000;
};

// The loop that this thread runs, if it is this process's; null otherwise.
asyncio::detail::LoopObject* own_loop() noexcept;

// True where memory is shared with the parent between vfork and exec, or after a fork that libc
// knows nothing of.
bool in_foreign_process() noexcept;
// How often this process was forked since anything was patched, which changes the thread's id.
unsigned forks() noexcept;
// Called before anything is patched.
void prepare_for_fork() noexcept;

}  // namespace fiber::monkey::detail
