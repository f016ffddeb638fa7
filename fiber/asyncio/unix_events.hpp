// The signals that loops handle: which loop, what was there before, and what has arrived.
#pragma once

#include <fiber/asyncio/base_events.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <map>

#include <semaphore.h>
#include <signal.h>

namespace fiber::asyncio::detail {

/// A loop's. Exists while it handles any signal.
class SignalHandlers {
 public:
  explicit SignalHandlers(LoopObject& loop);
  SignalHandlers(const SignalHandlers&) = delete;
  SignalHandlers& operator=(const SignalHandlers&) = delete;
  ~SignalHandlers();

  /// Replaces an earlier handle. Throws RuntimeError if the signal cannot be caught.
  void add(int number, core::Ref<HandleObject> handle);
  bool remove(int number);
  bool empty() const noexcept { return handlers_.empty(); }

  /// In a signal handler.
  void arrived(int number) noexcept;
  bool any_arrived() const noexcept {
    return first_.load(std::memory_order_relaxed) != end_.load(std::memory_order_acquire) ||
           crowded_out_.load(std::memory_order_relaxed) != 0;
  }
  /// Puts the step into the ready queue that will queue the handlers: as CPython's reader of the
  /// self-pipe, which runs an iteration before they do.
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
  /// Of a flood, those that found no room there: a bit each, however often they came.
  std::atomic<std::uint64_t> crowded_out_{0};
  Step* step_;
};

/// Lives in every signal handler that uses a loop; errno is what it was when the handler ends.
class InSignalHandler {
 public:
  InSignalHandler() noexcept : error_(errno) { running_.fetch_add(1); }
  InSignalHandler(const InSignalHandler&) = delete;
  InSignalHandler& operator=(const InSignalHandler&) = delete;
  ~InSignalHandler() {
    running_.fetch_sub(1);
    errno = error_;
  }
  /// Waits for those that run on other threads: then nobody uses what no handler finds any more.
  static void wait_for_others() noexcept;

 private:
  static inline std::atomic<int> running_{0};
  int error_;
};

/// What is posted as well whenever a loop's handler for the signal runs, on whatever thread; null:
/// nothing. Returns when no handler uses an earlier one.
void set_alarm(int number, sem_t* alarm) noexcept;
/// Takes `alarm` back, if it is still the one that was set last.
void clear_alarm(int number, sem_t* alarm) noexcept;

/// What a handler that is no loop's, such as Runner's for SIGINT, has to restore is not this one
/// any more: when the loop gives the signal back, `now` comes in place of `stale`.
void replace_saved_action(int number, void (*stale)(int), const struct sigaction& now) noexcept;

}  // namespace fiber::asyncio::detail
