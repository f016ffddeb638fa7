// A loop inside a foreign main loop: see EventLoop::fileno.
//
// While the host's code runs, the loop rests: the selector's timer is set to the next deadline, or
// to now if an entry is ready. New work makes the descriptor readable. Other threads write to the
// selector's eventfd, as they do for a loop that sleeps. On this thread push() calls ring(),
// because Mailbox::expect_push() has made the mailbox look as if it held a handle.
#pragma once

#include <fiber/asyncio/timers.hpp>

#include <cstdint>

namespace fiber::asyncio::detail {

class LoopObject;

class Embedding {
 public:
  explicit Embedding(LoopObject& loop) noexcept : loop_(loop) {}
  Embedding(const Embedding&) = delete;
  Embedding& operator=(const Embedding&) = delete;

  /// Returns the descriptor. From the first call on, between two runs, it is readable when there is
  /// work. Throws OSError.
  int fileno();
  /// Runs iterations that do not wait, for `budget` nanoseconds, at least one. Returns true if
  /// there is more work.
  bool run_ready(std::int64_t budget);
  /// Returns the time when run_ready should be called next: now or before, or kForever.
  std::int64_t next_deadline() noexcept;

  bool resting() const noexcept { return resting_; }
  /// Called when the loop begins to run: it rests no more.
  void begin_run() noexcept;
  /// Called when the loop has stopped running.
  void end_run() noexcept {
    if (embedded_) rest();
  }
  /// Called when a timer was set while the loop did not run.
  void deadline_changed() noexcept {
    if (resting_) [[unlikely]]
      rest();
  }
  /// Called when an entry was pushed while the loop rests.
  void ring() noexcept;
  void close() noexcept { embedded_ = resting_ = false; }

 private:
  void rest() noexcept;

  LoopObject& loop_;
  bool embedded_ = false;
  bool resting_ = false;
};

}  // namespace fiber::asyncio::detail
