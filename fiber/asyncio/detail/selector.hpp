// Readiness of descriptors, through epoll. A descriptor is registered in one of three ways:
//  - handles, level-triggered, changed only when what is wanted of it changes;
//  - a Watch, made once, edge-triggered: see watch.hpp;
//  - waits, each for one wake-up: armed once per wait, and safe when the descriptor is closed without
//    our being told between two of them. They go together with either of the others.
#pragma once

#include <fiber/asyncio/detail/descriptor_wait.hpp>
#include <fiber/asyncio/detail/loop_object.hpp>
#include <fiber/asyncio/detail/watch.hpp>

#include <cstdint>
#include <limits>
#include <vector>

#include <sys/epoll.h>

namespace fiber::asyncio::detail {

class Selector {
 public:
  // True for what a loop of this process keeps for itself: code that closes what it does not know
  // (closefrom) had better leave it open. From any thread.
  static bool is_own(int fd) noexcept;

  Selector();
  Selector(const Selector&) = delete;
  Selector& operator=(const Selector&) = delete;
  ~Selector();

  // Level-triggered, as Python's: ready again in each iteration until the cause is gone. Replaces
  // and cancels an earlier handle for the same event. Throws ValueError, OSError.
  void add(int fd, bool writer, HandleObject* handle);
  // Cancels the handle; false if there was none.
  bool remove(int fd, bool writer);

  // The watch stays in the list that detach_all() goes through until it is forgotten. Throws OSError.
  void watch(Watch& watch, int fd);
  // Before the descriptor is closed. The watch is still told of the end of the loop.
  void unwatch(Watch& watch) noexcept;
  void forget(Watch& watch) noexcept;
  // Reports it readable in the next select, which will not wait.
  void again(Watch& watch);
  void detach_all() noexcept;

  // Wakes the waiter at the next event. Returns 0, or why it cannot (an errno; EPERM: always ready).
  // Throws std::bad_alloc.
  int wait(DescriptorWait& wait);
  // Before the wait ends its life; does nothing if it was woken.
  void leave(DescriptorWait& wait) noexcept;
  // Somebody waits for the descriptor.
  bool has_waits(int fd) const noexcept {
    return static_cast<std::size_t>(fd) < interests_.size() &&
           interests_[static_cast<std::size_t>(fd)].waits != nullptr;
  }
  // Before the descriptor is closed: wakes who waits for it, with EBADF.
  void closing(int fd) noexcept;

  // Nothing is watched: a select could only wait.
  bool empty() const noexcept { return watched_ == 0; }
  // Something is ready that the kernel need not be asked for.
  bool ready() const noexcept { return !again_.empty(); }
  int fileno() const noexcept { return epoll_; }

  // Waits until `deadline` (-1: for ever, 0: not at all), in nanoseconds from now, and queues what
  // became ready: of each descriptor the reader first.
  void select(LoopObject& loop, std::int64_t timeout);
  // Ends a select from another thread or a signal handler.
  void wake() noexcept;

  // For a foreign loop that waits for fileno(). After the first, which throws OSError, select()
  // always asks the kernel. The second makes the descriptor readable at `when` on the clock of
  // steady_clock; 0: now, INT64_MAX: by what is watched alone.
  void add_timer();
  void set_timer(std::int64_t when) noexcept;

 private:
  struct Interest {
    HandleObject* reader = nullptr;
    HandleObject* writer = nullptr;
    std::uint32_t events = 0;    // what epoll reports of it at present
    bool registered = false;     // epoll knows it, though it may report nothing any more
    Watch* watch = nullptr;
    DescriptorWait* waits = nullptr;  // oldest first
  };
  Interest& interest(int fd);
  void refuse_watched(int fd) const;
  int arm(int fd, Interest& interest) noexcept;
  static void unlist(Interest& interest, DescriptorWait& wait) noexcept;
  static void wake_waits(Interest& interest, std::uint32_t ready, int error) noexcept;
  void update(int fd, Interest& interest);
  static void drop(HandleObject*& handle) noexcept;
  void watch_own() noexcept;
  void renew() noexcept;
  void revive();

  int epoll_ = -1;
  int wake_ = -1;
  int timer_ = -1;
  std::int64_t timer_set_ = std::numeric_limits<std::int64_t>::max();
  std::size_t watched_ = 0;
  std::vector<Interest> interests_;
  std::vector<Watch*> again_;
  std::vector<Watch*> again_now_;
  std::vector<epoll_event> events_;
  Watch* watches_ = nullptr;

  friend class Forking;
  Selector* next_live_ = nullptr;  // of the process
};

}  // namespace fiber::asyncio::detail
