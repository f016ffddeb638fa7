// The signals that loops handle: which loop, what was there before, and what has arrived.
#pragma once

#include <fiber/asyncio/detail/loop_object.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <map>

#include <signal.h>

namespace fiber::asyncio::detail {

// A loop's. Exists while it handles any signal.
class SignalHandlers {
 public:
  explicit SignalHandlers(LoopObject& loop) noexcept;
  SignalHandlers(const SignalHandlers&) = delete;
  SignalHandlers& operator=(const SignalHandlers&) = delete;
  ~SignalHandlers();

  // Replaces an earlier handle. Throws RuntimeError if the signal cannot be caught.
  void add(int number, HandleObject* handle);
  bool remove(int number);
  bool empty() const noexcept { return handlers_.empty(); }

  // In a signal handler.
  void arrived(int number) noexcept;
  bool any_arrived() const noexcept { return first_ != end_.load(std::memory_order_acquire); }
  // Puts the step into the ready queue that will queue the handlers: as CPython's reader of the
  // self-pipe, which runs an iteration before they do.
  void queue();

 private:
  struct Step : LeafCallback {
    SignalHandlers* owner = nullptr;  // null once it is gone
  };
  static void run(Leaf* leaf) noexcept;
  static constexpr std::uint32_t kRing = 256;

  LoopObject& loop_;
  std::map<int, HandleObject*> handlers_;
  // Numbers in the order of arrival; zero: not stored yet.
  std::array<std::atomic<std::uint8_t>, kRing> ring_{};
  std::atomic<std::uint32_t> end_{0};
  std::uint32_t first_ = 0;
  Step* step_;
};

// What a handler that is no loop's, such as Runner's for SIGINT, has to restore is not this one any
// more: when the loop gives the signal back, `now` comes in place of `stale`.
void replace_saved_action(int number, void (*stale)(int), const struct sigaction& now) noexcept;

}  // namespace fiber::asyncio::detail
