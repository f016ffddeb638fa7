// Turns OpenSSL's error queue into exceptions.
#pragma once

#include <fiber/ssl/exceptions.hpp>

#include <string>
#include <string_view>

namespace fiber::ssl::detail {

/// Empties OpenSSL's queue of errors before and after a call into OpenSSL: the queue belongs to the
/// thread, and so to all of its tasks.
class CleanErrors {
 public:
  CleanErrors() noexcept;
  CleanErrors(const CleanErrors&) = delete;
  CleanErrors& operator=(const CleanErrors&) = delete;
  ~CleanErrors();
};

/// Throws the exception for the last entry of the queue: an OSError for the errno of a system call,
/// std::bad_alloc, or an SSLError whose text begins with "[LIB: REASON] ". `context`: the subject
/// of the error, such as a file.
[[noreturn]] void throw_error(std::string_view context);

/// Returns "CERTIFICATE_VERIFY_FAILED" for "certificate verify failed".
std::string reason_name(unsigned long code);
std::string library_name(unsigned long code);
/// Returns "[SSL: WRONG_VERSION_NUMBER] wrong version number".
std::string error_text(unsigned long code);

}  // namespace fiber::ssl::detail
