// Readiness of descriptors, through epoll. One registration per descriptor, changed only when what
// is wanted of it changes.
#pragma once

#include <fiber/asyncio/detail/loop_object.hpp>

#include <cstdint>
#include <vector>

namespace fiber::asyncio::detail {

class Selector {
 public:
  Selector();
  Selector(const Selector&) = delete;
  Selector& operator=(const Selector&) = delete;
  ~Selector();

  // Level-triggered, as Python's: ready again in each iteration until the cause is gone. Replaces
  // and cancels an earlier handle for the same event. Throws ValueError, OSError.
  void add(int fd, bool writer, HandleObject* handle);
  // Cancels the handle; false if there was none.
  bool remove(int fd, bool writer);
  bool empty() const noexcept { return watched_ == 0; }
  int fileno() const noexcept { return epoll_; }

  // Waits until `deadline` (-1: for ever, 0: not at all), in nanoseconds from now, and queues what
  // became ready: of each descriptor the reader first.
  void select(LoopObject& loop, std::int64_t timeout);
  // Ends a select from another thread or a signal handler.
  void wake() noexcept;

 private:
  struct Interest {
    HandleObject* reader = nullptr;
    HandleObject* writer = nullptr;
    std::uint32_t events = 0;
  };
  void update(int fd, Interest& interest);
  static void drop(HandleObject*& handle) noexcept;

  int epoll_ = -1;
  int wake_ = -1;
  std::size_t watched_ = 0;
  std::vector<Interest> interests_;
};

}  // namespace fiber::asyncio::detail
