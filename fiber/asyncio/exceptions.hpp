// asyncio's own exceptions. Python: asyncio.exceptions.
#pragma once

#include <fiber/exceptions.hpp>

#include <cstddef>
#include <string>

namespace fiber::asyncio {

using fiber::TimeoutError;

/// Thrown at the await in which a cancelled task waits. Not a std::exception: handlers of ordinary
/// errors let it pass. Code that catches it to clean up should rethrow it.
class FIBER_API CancelledError : public BaseException {
 public:
  using BaseException::BaseException;
  ~CancelledError() override;
};

/// A result was read before there was one, or set twice.
class FIBER_API InvalidStateError : public Exception {
 public:
  using Exception::Exception;
  ~InvalidStateError() override;
};

/// The stream ended before the requested bytes arrived; `partial()` has those that did arrive.
class FIBER_API IncompleteReadError : public EOFError {
 public:
  /// `expected` is 0 when no number of bytes was requested.
  IncompleteReadError(std::string partial, std::size_t expected);
  ~IncompleteReadError() override;
  /// The bytes that came before the end.
  const std::string& partial() const noexcept { return partial_; }
  std::size_t expected() const noexcept { return expected_; }  ///< the number of bytes asked for

 private:
  std::string partial_;
  std::size_t expected_;
};

/// The buffer limit was reached while looking for a separator; `consumed()` bytes may be read.
class FIBER_API LimitOverrunError : public Exception {
 public:
  LimitOverrunError(std::string message, std::size_t consumed);
  ~LimitOverrunError() override;
  /// The number of bytes that may be read before a further search: no separator begins in them.
  std::size_t consumed() const noexcept { return consumed_; }

 private:
  std::size_t consumed_;
};

/// The barrier was aborted or reset while tasks waited at it.
class FIBER_API BrokenBarrierError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~BrokenBarrierError() override;
};

/// get_nowait() found no item.
class FIBER_API QueueEmpty : public Exception {
 public:
  using Exception::Exception;
  ~QueueEmpty() override;
};

/// put_nowait() found no room.
class FIBER_API QueueFull : public Exception {
 public:
  using Exception::Exception;
  ~QueueFull() override;
};

/// The queue was shut down: it has no item left, or takes none.
class FIBER_API QueueShutDown : public Exception {
 public:
  using Exception::Exception;
  ~QueueShutDown() override;
};

}  // namespace fiber::asyncio
