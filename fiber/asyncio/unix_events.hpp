// The signals that loops handle: the loop of each, its former disposition, and its arrivals.
#pragma once

#include <fiber/asyncio/base_events.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <map>

#include <semaphore.h>

namespace fiber::asyncio::detail {

/// The signals of one loop. Exists while the loop handles any signal.
class SignalHandlers {
 public:
  explicit SignalHandlers(LoopObject& loop);
  SignalHandlers(const SignalHandlers&) = delete;
  SignalHandlers& operator=(const SignalHandlers&) = delete;
  ~SignalHandlers();

  /// Replaces an earlier handle. Throws RuntimeError if the signal cannot be caught.
  void add(int number, core::Ref<HandleObject> handle);
  /// Gives the signal back. Returns its handle, null if there was none: its destructor
  /// may remove others.
  core::Ref<HandleObject> remove(int number) noexcept;
  bool empty() const noexcept { return handlers_.empty(); }

  /// Notes an arrival, in a signal handler.
  void arrived(int number) noexcept;
  bool any_arrived() const noexcept {
    return first_.load(std::memory_order_relaxed) != end_.load(std::memory_order_acquire) ||
           crowded_out_.load(std::memory_order_relaxed) != 0;
  }
  /// Queues the step that will queue the handlers: as CPython's reader of the self-pipe, which runs
  /// an iteration before the handlers.
  void queue() noexcept;

 private:
  struct Step : LeafCallback {
    SignalHandlers* owner = nullptr;  ///< null once it is gone
  };
  static void run(Leaf* leaf) noexcept;
  void call(int number) noexcept;
  static constexpr std::uint32_t kRing = 256;

  LoopObject& loop_;
  std::map<int, core::Ref<HandleObject>> handlers_;
  /// Numbers in the order of arrival; zero: not stored yet.
  std::array<std::atomic<std::uint8_t>, kRing> ring_{};
  std::atomic<std::uint32_t> end_{0};
  std::atomic<std::uint32_t> first_{0};
  /// Signals of a flood that found no room in the ring: a bit each, however often they came.
  std::atomic<std::uint64_t> crowded_out_{0};
  Step* step_;
};

/// Lives in every signal handler that uses a loop; restores errno when the handler ends.
class InSignalHandler {
 public:
  InSignalHandler() noexcept : error_(errno) { running_.fetch_add(1); }
  InSignalHandler(const InSignalHandler&) = delete;
  InSignalHandler& operator=(const InSignalHandler&) = delete;
  ~InSignalHandler() {
    running_.fetch_sub(1);
    errno = error_;
  }
  /// Waits for the handlers on other threads: afterwards none uses data that is no longer
  /// reachable.
  static void wait_for_others() noexcept;

 private:
  static inline std::atomic<int> running_{0};
  int error_;
};

/// Sets a semaphore that is posted as well whenever a loop's handler for the signal runs, on any
/// thread; null: none. Returns when no handler uses an earlier one.
void set_alarm(int number, sem_t* alarm) noexcept;
/// Removes `alarm`, if it is still the one that was set last.
void clear_alarm(int number, sem_t* alarm) noexcept;

/// Replaces the saved disposition `stale` of a signal by `now`, if it is still saved: for a handler
/// that is no loop's, such as Runner's for SIGINT. The loop restores `now` when it gives the signal
/// back.
void replace_saved_action(int number, void (*stale)(int), const struct sigaction& now) noexcept;

}  // namespace fiber::asyncio::detail
