// A loop inside a foreign main loop: see EventLoop::fileno.
//
// While the host has its turn the loop rests: the selector's timer is set to the next deadline, or
// to now if something is ready, and whoever brings work makes the descriptor readable. Other
// threads do so by the selector's eventfd, as if the loop slept; this thread by ring(), which
// push() comes by since the mailbox says meanwhile that there is something.
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

  /// From the first call on, between two runs, the descriptor is readable when there is work.
  /// Throws OSError.
  int fileno();
  /// Iterations that do not wait, for `budget` nanoseconds, one at least. True if there is more.
  bool run_ready(std::int64_t budget);
  /// When run_ready should be called next: now or before, or kForever.
  std::int64_t next_deadline() noexcept;

  bool resting() const noexcept { return resting_; }
  /// The loop begins to run: it rests no more.
  void begin_run() noexcept;
  /// It has stopped running.
  void end_run() noexcept {
    if (embedded_) rest();
  }
  /// A timer was set while the loop did not run.
  void deadline_changed() noexcept {
    if (resting_) [[unlikely]]
      rest();
  }
  /// Something was pushed while the loop rests.
  void ring() noexcept;
  void close() noexcept { embedded_ = resting_ = false; }

 private:
  void rest() noexcept;

  LoopObject& loop_;
  bool embedded_ = false;
  bool resting_ = false;
};

}  // namespace fiber::asyncio::detail
