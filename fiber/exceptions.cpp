#include <fiber/exceptions.hpp>

#include <fiber/demangle.hpp>
#include <fiber/exceptions/files.hpp>
#include <fiber/exceptions/uncaught.hpp>

#include <atomic>
#include <cerrno>
#include <system_error>
#include <typeinfo>
#include <utility>

#include <cxxabi.h>

namespace fiber {
namespace {

std::string os_message(int error_number, std::string_view detail) {
  std::string text = "[Errno " + std::to_string(error_number) + "] " +
                     std::generic_category().message(error_number);
  if (!detail.empty()) text.append(": ").append(detail);
  return text;
}

// Removes everything before the last "::" that is not in a template argument.
std::string unqualified(const std::string& name) {
  if (name.starts_with("std::")) return name;
  int depth = 0;
  for (std::size_t at = name.size(); at > 1; --at) {
    const char c = name[at - 1];
    if (c == '>' || c == ')') ++depth;
    if (c == '<' || c == '(') --depth;
    if (depth == 0 && c == ':') return name.substr(at);
  }
  return name;
}

// Returns the type that was given to std::throw_with_nested: the one that a reader knows.
std::string without_nesting(std::string name) {
  for (const std::string_view nested : {"std::_Nested_exception<", "std::__nested<"})
    if (name.starts_with(nested) && name.back() == '>')
      return name.substr(nested.size(),
                         name.find_last_not_of(' ', name.size() - 2) + 1 - nested.size());
  return name;
}

std::string shown_name(const std::type_info& type) {
  return unqualified(without_nesting(core::demangle(type)));
}

struct Description {
  std::string type;
  std::string text;
};

// An exception of the user's may have none.
std::string text_or_none(const char* text) { return text != nullptr ? text : ""; }

Description describe(const std::exception_ptr& error) {
  if (!error) return {"None", ""};
  try {
    std::rethrow_exception(error);
  } catch (const TimeoutError& e) {
    return {shown_name(typeid(e)), text_or_none(e.Exception::what())};
  } catch (const detail::CompoundException& e) {
    return {shown_name(typeid(e)), e.str()};
  } catch (const std::exception& e) {
    return {shown_name(typeid(e)), text_or_none(e.what())};
  } catch (const BaseException& e) {
    return {shown_name(typeid(e)), text_or_none(e.what())};
  } catch (const std::string& text) {
    return {"std::string", text};
  } catch (const char* text) {
    return {"const char*", text_or_none(text)};
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    return {type ? core::demangle(*type) : "unknown exception", ""};
  }
}

}  // namespace

struct detail::Message::Text {
  std::atomic<long> refs{1};
  std::string text;
};

detail::Message::Message(std::string text)
    : text_(text.empty() ? nullptr : new Text{.text = std::move(text)}) {}
detail::Message::Message(const Message& other) noexcept : text_(other.text_) {
  if (text_ != nullptr) text_->refs.fetch_add(1, std::memory_order_relaxed);
}
detail::Message& detail::Message::operator=(const Message& other) noexcept {
  Message copy(other);
  std::swap(text_, copy.text_);
  return *this;
}
detail::Message::~Message() {
  if (text_ != nullptr && text_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete text_;
}
const char* detail::Message::c_str() const noexcept {
  return text_ != nullptr ? text_->text.c_str() : "";
}

BaseException::BaseException(std::string message) : message_(std::move(message)) {}
BaseException::~BaseException() = default;
detail::CompoundException::~CompoundException() = default;
KeyboardInterrupt::KeyboardInterrupt() { detail::expect_at_exit(); }
KeyboardInterrupt::KeyboardInterrupt(std::string message) : BaseException(std::move(message)) {
  detail::expect_at_exit();
}
KeyboardInterrupt::~KeyboardInterrupt() = default;
SystemExit::SystemExit(int code) : BaseException(std::to_string(code)), code_(code) {
  detail::expect_at_exit();
}
SystemExit::~SystemExit() = default;

Exception::Exception(std::string message) : message_(std::move(message)) {}
Exception::~Exception() = default;
TypeError::~TypeError() = default;
ValueError::~ValueError() = default;
AttributeError::~AttributeError() = default;
LookupError::~LookupError() = default;
RuntimeError::~RuntimeError() = default;
NotImplementedError::~NotImplementedError() = default;
EOFError::~EOFError() = default;
MemoryError::~MemoryError() = default;

OSError::OSError(std::string message) : Exception(std::move(message)) {}
OSError::OSError(int error_number, std::string_view detail)
    : Exception(os_message(error_number, detail)), error_number_(error_number) {}
OSError::~OSError() = default;
TimeoutError::TimeoutError() : OSError(std::string()) {}
TimeoutError::~TimeoutError() = default;
const char* TimeoutError::what() const noexcept {
  const char* message = Exception::what();
  return *message != '\0' ? message : "timed out";
}
FileNotFoundError::~FileNotFoundError() = default;
PermissionError::~PermissionError() = default;
BlockingIOError::~BlockingIOError() = default;
ProcessLookupError::~ProcessLookupError() = default;
ConnectionError::~ConnectionError() = default;
ConnectionRefusedError::~ConnectionRefusedError() = default;
ConnectionResetError::~ConnectionResetError() = default;
ConnectionAbortedError::~ConnectionAbortedError() = default;
BrokenPipeError::~BrokenPipeError() = default;
FileExistsError::~FileExistsError() = default;
IsADirectoryError::~IsADirectoryError() = default;
NotADirectoryError::~NotADirectoryError() = default;

void raise_os_error(int error_number, std::string_view detail) {
  switch (error_number) {
    case ENOENT: throw FileNotFoundError(error_number, detail);
    case EACCES:
    case EPERM: throw PermissionError(error_number, detail);
    case EAGAIN:
    case EALREADY:
    case EINPROGRESS: throw BlockingIOError(error_number, detail);
    case ESRCH: throw ProcessLookupError(error_number, detail);
    case ECONNREFUSED: throw ConnectionRefusedError(error_number, detail);
    case ECONNRESET: throw ConnectionResetError(error_number, detail);
    case ECONNABORTED: throw ConnectionAbortedError(error_number, detail);
    case EPIPE:
    case ESHUTDOWN: throw BrokenPipeError(error_number, detail);
    case ETIMEDOUT: throw TimeoutError(error_number, detail);
    case EEXIST: throw FileExistsError(error_number, detail);
    case EISDIR: throw IsADirectoryError(error_number, detail);
    case ENOTDIR: throw NotADirectoryError(error_number, detail);
    default: throw OSError(error_number, detail);
  }
}

std::string repr(const std::exception_ptr& error) {
  if (!error) return "None";
  try {
    std::rethrow_exception(error);
  } catch (const detail::CompoundException& group) {
    return group.repr();
  } catch (const SystemExit& exit) {  // its argument is a number
    if (typeid(exit) == typeid(SystemExit))
      return "SystemExit(" + std::to_string(exit.code()) + ")";
  } catch (...) {
    // Other exceptions follow below.
  }
  const Description d = describe(error);
  return d.type + "(" + (d.text.empty() ? "" : detail::quoted(d.text)) + ")";
}

std::string str(const std::exception_ptr& error) { return describe(error).text; }

std::string type_name(const std::exception_ptr& error) { return describe(error).type; }

}  // namespace fiber
