#include <fiber/concurrent/remote_error.hpp>

#include <fiber/concurrent/executor.hpp>
#include <fiber/exceptions/files.hpp>

#include <concepts>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string_view>
#include <typeinfo>
#include <utility>

#include <cxxabi.h>

namespace fiber::concurrent::futures::detail {
namespace {

// The beginning of the bytes: `type` is an index of the table, `number` an errno or exit code.
struct Head {
  int type;
  int number;
};

struct Known {
  const std::type_info& type;
  std::exception_ptr (*make)(int number, const std::string& message);
};

template <class E>
std::exception_ptr make(int number, const std::string& message) {
  if constexpr (std::derived_from<E, OSError>) {
    // The message is whole already; the constructor with a number would make another of it.
    E error(number, std::string_view());
    static_cast<Exception&>(error) = Exception(message);
    return std::make_exception_ptr(std::move(error));
  } else if constexpr (std::same_as<E, SystemExit>) {
    return std::make_exception_ptr(E(number));
  } else if constexpr (std::constructible_from<E, const std::string&>) {
    return std::make_exception_ptr(E(message));
  } else {
    return std::make_exception_ptr(E());
  }
}

// Returns the type of the exception, which an exception_ptr shows only while it is handled.
const std::type_info* type_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (...) {
    return abi::__cxa_current_exception_type();
  }
}

template <class... E>
struct Types {
  static inline const Known table[] = {{typeid(E), &make<E>}...};
};

// OSError is the first: an unknown class that derives from it becomes one.
using KnownErrors =
    Types<OSError, TimeoutError, FileNotFoundError, FileExistsError, IsADirectoryError,
          NotADirectoryError, PermissionError, BlockingIOError, ProcessLookupError, ConnectionError,
          ConnectionRefusedError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError,
          RuntimeError, NotImplementedError, ValueError, TypeError, AttributeError, LookupError,
          EOFError, MemoryError, Exception, BaseException, KeyboardInterrupt, SystemExit, Error,
          CancelledError, InvalidStateError, std::runtime_error, std::range_error,
          std::overflow_error, std::underflow_error, std::logic_error, std::invalid_argument,
          std::domain_error, std::length_error, std::out_of_range, std::bad_alloc>;

}  // namespace

std::string dump_error(const std::exception_ptr& error) {
  Head head{-1, 0};
  try {
    std::rethrow_exception(error);
  } catch (const OSError& e) {
    head = {.type = 0, .number = e.error_number()};
  } catch (const SystemExit& e) {
    head.number = e.code();
  } catch (...) {
  }
  std::string message = str(error);
  bool found = false;
  if (const std::type_info* type = type_of(error)) {
    for (const Known& known : KnownErrors::table) {
      if (known.type != *type) continue;
      head.type = static_cast<int>(&known - KnownErrors::table);
      found = true;
    }
  }
  if (!found && message.empty()) message = type_name(error);
  return std::string(reinterpret_cast<const char*>(&head), sizeof head) + message;
}

std::exception_ptr load_error(const std::string& bytes) {
  Head head;
  std::memcpy(&head, bytes.data(), sizeof head);
  const std::string message = bytes.substr(sizeof head);
  if (head.type < 0) return std::make_exception_ptr(RuntimeError(message));
  return KnownErrors::table[head.type].make(head.number, message);
}

}  // namespace fiber::concurrent::futures::detail
