// Requests that the kernel carries out: io_uring.
//
// Invariants
//  1. The descriptor that tells of completions is watched by the loop only while a request is under
//     way that did not end at once: a loop that has done with files turns as fast as before.
//  2. The ring ends after the last of its requests: until then the kernel may write into them.
#pragma once

#include <fiber/aiofiles/request.hpp>
#include <fiber/standard.hpp>

namespace fiber::aiofiles::detail {

using asyncio::detail::LoopObject;

class Ring {
 public:
  /// Null where the library was built without it, or the kernel does not allow it: then `error` is
  /// an errno.
  static std::unique_ptr<Ring> open(LoopObject& loop, int& error);

  virtual ~Ring() = default;
  /// The kernel knows the call.
  virtual bool takes(const Request& request) const noexcept = 0;
  /// In the loop. The request may have ended on return. False: there is no room for it.
  virtual bool start(const RequestRef& request) noexcept = 0;
  /// Nobody waits for it any more: it need not be begun.
  virtual void withdraw(Request& request) noexcept = 0;
  /// Stops the thread until the request has ended.
  virtual void finish(const Request& request) noexcept = 0;
  /// Of a ring that belongs to the parent process: this one may not touch it.
  virtual bool inherited() const noexcept = 0;
};

}  // namespace fiber::aiofiles::detail
