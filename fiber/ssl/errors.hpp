// From OpenSSL's error queue to exceptions.
#pragma once

#include <fiber/ssl/exceptions.hpp>

#include <string>
#include <string_view>

namespace fiber::ssl::detail {

/// OpenSSL's queue of errors belongs to the thread, and so to all of its tasks: it is empty when a
/// call into OpenSSL begins, and when it is over.
class CleanErrors {
 public:
  CleanErrors() noexcept;
  CleanErrors(const CleanErrors&) = delete;
  CleanErrors& operator=(const CleanErrors&) = delete;
  ~CleanErrors();
};

/// Throws what the last entry of the queue says: an OSError for the errno of a system call,
/// std::bad_alloc, or an SSLError whose text begins with "[LIB: REASON] ". `context`: what it
/// happened to, such as a file.
[[noreturn]] void throw_error(std::string_view context);

/// "CERTIFICATE_VERIFY_FAILED" of "certificate verify failed".
std::string reason_name(unsigned long code);
std::string library_name(unsigned long code);
/// "[SSL: WRONG_VERSION_NUMBER] wrong version number".
std::string error_text(unsigned long code);

}  // namespace fiber::ssl::detail
