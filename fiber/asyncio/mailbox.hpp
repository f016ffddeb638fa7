// What other threads give to a loop, and how they wake it.
//
// Invariants
//  1. The list is read and changed under the mutex alone. `any_` may be set while the list is
//     empty, never the reverse: the loop looks at the flag without the mutex.
//  2. A loop says that it sleeps before it looks at `any_` for the last time; a thread gives its
//     handle before it looks at `sleeping_`. A fence stands between the two on either side, so that
//     one of them sees the other: no handle waits for a loop that nobody wakes.
//  3. The selector is woken under the mutex, and never after stop_waking(): its descriptors may be
//     those of others by then.
//  4. The state only grows. Nothing enters a mailbox that is gone.
#pragma once

#include <fiber/asyncio/base_handles.hpp>
#include <fiber/asyncio/detail/ready_queue.hpp>
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
    open,     ///< the loop takes what comes
    closing,  ///< the loop is being closed, and drops what comes
    gone,     ///< nobody takes anything any more
  };

  explicit Mailbox(Selector& selector) noexcept : selector_(&selector) {}
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;
  ~Mailbox() { drop(); }

  // --- from any thread ---
  /// Gives a handle to the loop and wakes it. False, and the caller keeps the handle, if the state
  /// is beyond `last`.
  bool put(core::Ref<HandleObject>& handle, State last) noexcept;
  void wake() noexcept;
  /// In the selector: the loop has nothing to do.
  bool sleeping() const noexcept { return sleeping_.load(std::memory_order_relaxed); }

  // --- on the loop's thread ---
  /// Something may have come, or somebody has asked to be called by the next push().
  bool any() const noexcept { return any_.load(std::memory_order_relaxed); }
  bool any_acquired() const noexcept { return any_.load(std::memory_order_acquire); }
  bool empty() noexcept;
  /// Moves what has come to the ready queue. What there is no memory for comes later.
  void take(ReadyQueue& ready) noexcept;
  /// Sets `any()` for a mailbox that may be empty: push() comes by, and takes.
  void expect_push() noexcept { any_.store(true, std::memory_order_relaxed); }
  void fall_asleep() noexcept {
    sleeping_.store(true, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  void wake_up() noexcept { sleeping_.store(false, std::memory_order_relaxed); }

  // --- the end ---
  void set(State state) noexcept;
  void stop_waking() noexcept;
  /// Lets go of what is still here. Nothing is added meanwhile.
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
