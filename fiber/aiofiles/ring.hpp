// Requests that the kernel carries out: io_uring.
//
// Invariants
//  1. The loop watches the descriptor that reports completions only while a request runs that did
//     not end at once: a loop that has finished its work with files is as fast as before.
//  2. The ring outlives all of its requests: the kernel may write into them until they have ended.
#pragma once

#include <fiber/aiofiles/request.hpp>
#include <fiber/standard.hpp>

namespace fiber::aiofiles::detail {

using asyncio::detail::LoopObject;

class Ring {
 public:
  /// Returns null, and an errno in `error`, if the library was built without io_uring, or the
  /// kernel refuses it.
  static std::unique_ptr<Ring> open(LoopObject& loop, int& error);

  virtual ~Ring() = default;
  /// Returns whether the kernel has this operation.
  virtual bool takes(const Request& request) const noexcept = 0;
  /// Starts a request, in the loop; it may have ended on return. Returns false if there is no room.
  virtual bool start(const RequestRef& request) noexcept = 0;
  /// Asks the kernel to cancel a request for which no task waits any more.
  virtual void withdraw(Request& request) noexcept = 0;
  /// Stops the thread until the request has ended.
  virtual void finish(const Request& request) noexcept = 0;
  /// Returns whether the ring is that of the parent process, which this process must not touch.
  virtual bool inherited() const noexcept = 0;
};

}  // namespace fiber::aiofiles::detail
