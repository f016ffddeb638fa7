// Python's built-in exceptions, under their Python names.
//
// Every exception that ordinary code may catch derives from fiber::Exception and so from
// std::exception: `catch (const std::exception&)` is Python's `except Exception`. The exceptions
// that ordinary code must let through (BaseException and its children) do not.
#pragma once

#include <fiber/config.hpp>

#include <exception>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace fiber {

namespace detail {

// The text of an exception: copies share it, and copying never throws.
class FIBER_API Message {
 public:
  Message() noexcept = default;
  explicit Message(std::string text);
  Message(const Message& other) noexcept;
  Message& operator=(const Message& other) noexcept;
  ~Message();

  // Returns "" if there is no message.
  const char* c_str() const noexcept;

 private:
  struct Text;
  Text* text_ = nullptr;
};

}  // namespace detail

/// Root of the exceptions that `catch (const std::exception&)` must not swallow: GreenletExit,
/// GeneratorExit, asyncio::CancelledError, KeyboardInterrupt, SystemExit.
/// Copying shares the message and never throws.
class FIBER_API BaseException {
 public:
  BaseException() noexcept = default;
  explicit BaseException(std::string message);
  BaseException(const BaseException&) noexcept = default;
  BaseException& operator=(const BaseException&) noexcept = default;
  virtual ~BaseException();

  /// Returns the message, "" if there is none.
  const char* what() const noexcept { return message_.c_str(); }

 private:
  detail::Message message_;
};

/// Ctrl-C. asyncio::run throws it once the interrupted main task has ended. A KeyboardInterrupt
/// that leaves main() prints "KeyboardInterrupt" and ends the program with status 130, unless the
/// program has its own std::terminate_handler, which is called as ever.
class FIBER_API KeyboardInterrupt : public BaseException {
 public:
  KeyboardInterrupt();
  explicit KeyboardInterrupt(std::string message);
  KeyboardInterrupt(const KeyboardInterrupt&) noexcept = default;
  KeyboardInterrupt& operator=(const KeyboardInterrupt&) noexcept = default;
  ~KeyboardInterrupt() override;
};

/// A request to end the program with `code()`; leaves every loop in which it is thrown. A
/// SystemExit that leaves main() ends the program with that status (its lowest eight bits) and
/// without a word, unless the program has its own std::terminate_handler. As after any uncaught
/// exception, it is up to the compiler whether the destructors of main's variables run; functions
/// given to atexit do.
class FIBER_API SystemExit : public BaseException {
 public:
  explicit SystemExit(int code = 0);
  ~SystemExit() override;
  int code() const noexcept { return code_; }  ///< the exit status of the program

 private:
  int code_;
};

/// Root of the exceptions that ordinary code may handle. Copying never throws.
class FIBER_API Exception : public std::exception {
 public:
  Exception() noexcept = default;
  explicit Exception(std::string message);
  Exception(const Exception&) noexcept = default;
  Exception& operator=(const Exception&) noexcept = default;
  ~Exception() override;

  /// Returns the message, "" if there is none.
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  detail::Message message_;
};

/// A value of the wrong type was sent, read or passed; the message names both types.
class FIBER_API TypeError : public Exception {
 public:
  using Exception::Exception;
  ~TypeError() override;
};

/// An argument of the right type with an impossible value.
class FIBER_API ValueError : public Exception {
 public:
  using Exception::Exception;
  ~ValueError() override;
};

/// A member that an object does not have, such as the `run` of a greenlet made without one.
class FIBER_API AttributeError : public Exception {
 public:
  using Exception::Exception;
  ~AttributeError() override;
};

/// A context variable without a value was read.
class FIBER_API LookupError : public Exception {
 public:
  using Exception::Exception;
  ~LookupError() override;
};

/// An operation that is not allowed in the current state.
class FIBER_API RuntimeError : public Exception {
 public:
  using Exception::Exception;
  ~RuntimeError() override;
};

/// An operation that this kind of object does not have.
class FIBER_API NotImplementedError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~NotImplementedError() override;
};

/// A stream ended before the requested data had arrived.
class FIBER_API EOFError : public Exception {
 public:
  using Exception::Exception;
  ~EOFError() override;
};

/// No memory for a fiber's stack; the message says which limit was met and how to raise it.
class FIBER_API MemoryError : public Exception {
 public:
  using Exception::Exception;
  ~MemoryError() override;
};

/// A failed system call: `error_number()` is its errno, what() is "[Errno N] text: detail".
class FIBER_API OSError : public Exception {
 public:
  explicit OSError(std::string message);  ///< error_number() is 0
  OSError(int error_number, std::string_view detail);
  ~OSError() override;
  int error_number() const noexcept { return error_number_; }  ///< the errno; 0 if there is none

 private:
  int error_number_ = 0;
};

/// A deadline passed (asyncio.TimeoutError and concurrent.futures.TimeoutError are this type, too).
class FIBER_API TimeoutError : public OSError {
 public:
  TimeoutError();
  using OSError::OSError;
  ~TimeoutError() override;

  /// Returns "timed out" where there is no message. Python has no message there either: str() and
  /// repr() are "" and "TimeoutError()".
  const char* what() const noexcept override;
};

/// ENOENT.
class FIBER_API FileNotFoundError : public OSError {
 public:
  using OSError::OSError;
  ~FileNotFoundError() override;
};

/// EACCES, EPERM.
class FIBER_API PermissionError : public OSError {
 public:
  using OSError::OSError;
  ~PermissionError() override;
};

/// EAGAIN, EALREADY, EINPROGRESS: the call would have to wait, and must not.
class FIBER_API BlockingIOError : public OSError {
 public:
  using OSError::OSError;
  ~BlockingIOError() override;
};

/// ESRCH: the process has ended.
class FIBER_API ProcessLookupError : public OSError {
 public:
  using OSError::OSError;
  ~ProcessLookupError() override;
};

/// Root of the errors of a connection.
class FIBER_API ConnectionError : public OSError {
 public:
  using OSError::OSError;
  ~ConnectionError() override;
};

/// ECONNREFUSED.
class FIBER_API ConnectionRefusedError : public ConnectionError {
 public:
  using ConnectionError::ConnectionError;
  ~ConnectionRefusedError() override;
};

/// ECONNRESET.
class FIBER_API ConnectionResetError : public ConnectionError {
 public:
  using ConnectionError::ConnectionError;
  ~ConnectionResetError() override;
};

/// ECONNABORTED.
class FIBER_API ConnectionAbortedError : public ConnectionError {
 public:
  using ConnectionError::ConnectionError;
  ~ConnectionAbortedError() override;
};

/// EPIPE, ESHUTDOWN.
class FIBER_API BrokenPipeError : public ConnectionError {
 public:
  using ConnectionError::ConnectionError;
  ~BrokenPipeError() override;
};

/// Throws the exception that Python raises for this errno, an OSError for any other errno. `detail`
/// is the object of the failed call, such as the name of a file.
[[noreturn]] FIBER_API void raise_os_error(int error_number, std::string_view detail = {});

namespace detail {

/// An exception that holds others, with the functions that describing and printing it need. Groups
/// derive from it (see exceptiongroup.hpp).
class FIBER_API CompoundException {
 public:
  virtual ~CompoundException();
  virtual const std::vector<std::exception_ptr>& exceptions() const noexcept = 0;
  virtual std::string str() const = 0;
  virtual std::string repr() const = 0;

 protected:
  CompoundException() noexcept = default;
  CompoundException(const CompoundException&) noexcept = default;
  CompoundException& operator=(const CompoundException&) noexcept = default;
};

// Returns Python's repr() of a text, for reports: in quotes, control characters escaped.
FIBER_API std::string quoted(std::string_view text);

}  // namespace detail

/// Returns Python's repr() of an exception: "ValueError('message')"; for foreign exceptions the C++
/// type and what(). "None" for a null pointer. Never throws but for lack of memory.
FIBER_API std::string repr(const std::exception_ptr& error);

/// Returns Python's str() of an exception: its message, "" if it has none. Text that what() has
/// beyond Python's (the errors in a group, the "timed out" of a TimeoutError) is not in it.
FIBER_API std::string str(const std::exception_ptr& error);

/// Returns the unqualified type name of the exception, as Python shows it ("ValueError").
FIBER_API std::string type_name(const std::exception_ptr& error);

/// Writes an exception as Python does, to stderr if no stream is given: its causes
/// (std::throw_with_nested, std::nested_exception) come first, and the errors in a group are drawn
/// as a tree. There is no traceback. Python: traceback.print_exception.
///
///   OSError: [Errno 2] No such file or directory: settings
///
///   The above exception was the direct cause of the following exception:
///
///     | ExceptionGroup: start failed (2 sub-exceptions)
///     +-+---------------- 1 ----------------
///       | ValueError: no name
///       +---------------- 2 ----------------
///       | TimeoutError
///       +------------------------------------
///
/// Groups of more than 15 errors, and groups nested more than 10 deep, are cut short. A null
/// pointer is "NoneType: None".
FIBER_API void print_exception(const std::exception_ptr& error);
FIBER_API void print_exception(const std::exception_ptr& error, std::ostream& out);
/// Returns the text that print_exception() writes; it ends with a line end. Python:
/// "".join(traceback.format_exception(error)).
FIBER_API std::string format_exception(const std::exception_ptr& error);

}  // namespace fiber
