#include <fiber/concurrent/remote_error.hpp>

#include <fiber/concurrent/executor.hpp>

#include <cstring>
#include <new>
#include <stdexcept>
#include <string_view>
#include <typeinfo>

namespace fiber::concurrent::futures::detail {
namespace {

// What crosses: `type` is an index of the table, `number` an errno or exit code.
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
    // The message is "[Errno N] text: detail", of which the constructor wants the detail.
    const std::string start = OSError(number, "").what();
    const std::string_view text = message;
    if (number == 0 || !text.starts_with(start)) return std::make_exception_ptr(E(message));
    const std::string_view rest = text.substr(start.size());
    return std::make_exception_ptr(E(number, rest.starts_with(": ") ? rest.substr(2) : rest));
  } else if constexpr (std::same_as<E, SystemExit>) {
    return std::make_exception_ptr(E(number));
  } else if constexpr (std::constructible_from<E, const std::string&>) {
    return std::make_exception_ptr(E(message));
  } else {
    return std::make_exception_ptr(E());
  }
}

template <class... E>
constexpr std::size_t count = sizeof...(E);

template <class... E>
const Known* table() {
  static const Known known[] = {{typeid(E), &make<E>}...};
  return known;
}

#define KNOWN_ERRORS                                                                              \
  RuntimeError, ValueError, TypeError, AttributeError, LookupError, EOFError, MemoryError,        \
      OSError, TimeoutError, FileNotFoundError, PermissionError, ConnectionError,                 \
      ConnectionRefusedError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError,      \
      Exception, BaseException, KeyboardInterrupt, SystemExit, Error, CancelledError,             \
      InvalidStateError, std::runtime_error, std::range_error, std::overflow_error,               \
      std::underflow_error, std::logic_error, std::invalid_argument, std::domain_error,           \
      std::length_error, std::out_of_range, std::bad_alloc

}  // namespace

}  // namespace fiber::concurrent::futures::detail
