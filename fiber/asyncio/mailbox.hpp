// The handles that other threads give to a loop, and how they wake it.
//
// Invariants
//  1. The list is read and changed under the mutex alone. `any_` may be set while the list is
//     empty, never the reverse while the state is open: the loop looks at the flag without the
//     mutex.
//  2. A loop sets `sleeping_` before it looks at `any_` for the last time; a thread adds its handle
//     before it looks at `sleeping_`. A fence stands between the two steps on either side, so that
//     at least one side sees the other: no handle waits for a loop that sleeps on.
//  3. The mailbox wakes the selector under the mutex, and never after stop_waking(): the numbers of
//     the selector's descriptors may be those of other files by then. (A signal handler takes no
//     mutex: see LoopSignals::attend.)
//  4. The state only grows. Nothing enters a mailbox that is gone.
#pragma once

#include <fiber/asyncio/base_handles.hpp>
#include <fiber/asyncio/ready_queue.hpp>
#include <fiber/core/list.hpp>
#include <fiber/core/ref.hpp>
#include <fiber/standard.hpp>

#include <atomic>
#include <cstdint>

namespace fiber::asyncio::detail {

class Selector;

class Mailbox {
 public:
  enum class State : std::uint8_t {
    open,     ///< the loop takes handles
    closing,  ///< the loop is being closed, and drops handles
    gone,     ///< handles are refused
  };

  explicit Mailbox(Selector& selector) noexcept : selector_(&selector) {}
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;
  ~Mailbox() { drop(); }

  // --- from any thread ---
  /// Gives a handle to the loop and wakes it. Returns false, and the caller keeps the handle, if
  /// the state is beyond `last`.
  bool put(core::Ref<HandleObject>& handle, State last) noexcept;
  void wake() noexcept;
  /// Returns true while the loop waits in the selector.
  bool sleeping() const noexcept { return sleeping_.load(std::memory_order_relaxed); }

  // --- on the loop's thread ---
  /// Returns true if a handle may have come, or expect_push() was called.
  bool any() const noexcept { return any_.load(std::memory_order_relaxed); }
  bool any_acquired() const noexcept { return any_.load(std::memory_order_acquire); }
  bool empty() noexcept;
  /// Moves the handles to the ready queue. Handles for which the queue has no memory stay until the
  /// next call.
  void take(ReadyQueue& ready) noexcept;
  /// Sets `any()` for a mailbox that may be empty, so that the next push() calls take().
  void expect_push() noexcept { any_.store(true, std::memory_order_relaxed); }
  void fall_asleep() noexcept {
    sleeping_.store(true, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  void wake_up() noexcept { sleeping_.store(false, std::memory_order_relaxed); }

  // --- the end ---
  void set(State state) noexcept;
  void stop_waking() noexcept;
  /// Drops the remaining handles. Nothing is added meanwhile.
  void drop() noexcept;

 private:
  std::mutex mutex_;
  Selector* selector_;           ///< null after stop_waking()
  core::List<Callback> posted_;  ///< handles, oldest first
  State state_ = State::open;
  std::atomic<bool> any_{false};
  std::atomic<bool> sleeping_{false};
};

}  // namespace fiber::asyncio::detail
