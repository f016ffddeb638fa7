#include <fiber/ssl/errors.hpp>

#include <fiber/ssl/constants.hpp>

#include <new>

#include <openssl/crypto.h>
#include <openssl/err.h>

namespace fiber::ssl {

std::string openssl_version() { return ::OpenSSL_version(0); }

namespace detail {
namespace {

// ERR_clear_error() goes through all its sixteen places, also when they are empty.
void clear_errors() noexcept {
  if (::ERR_peek_error() != 0) ::ERR_clear_error();
}

}  // namespace

CleanErrors::CleanErrors() noexcept { clear_errors(); }
CleanErrors::~CleanErrors() { clear_errors(); }

std::string reason_name(unsigned long code) {
  const char* text = ::ERR_reason_error_string(code);
  if (text == nullptr) return {};
  std::string name;
  for (const char* at = text; *at != '\0'; ++at) {
    const char c = *at;
    const bool lower = c >= 'a' && c <= 'z';
    const bool other = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    name += lower ? static_cast<char>(c - 'a' + 'A') : other ? c : '_';
  }
  return name;
}

std::string library_name(unsigned long code) {
  switch (ERR_GET_LIB(code)) {
    case ERR_LIB_SSL: return "SSL";
    case ERR_LIB_X509: return "X509";
    case ERR_LIB_X509V3: return "X509V3";
    case ERR_LIB_PEM: return "PEM";
    case ERR_LIB_ASN1: return "ASN1";
    case ERR_LIB_EVP: return "EVP";
    case ERR_LIB_RSA: return "RSA";
    case ERR_LIB_EC: return "EC";
    case ERR_LIB_BIO: return "BIO";
    case ERR_LIB_CONF: return "CONF";
    default: break;
  }
  const char* text = ::ERR_lib_error_string(code);
  return text != nullptr ? text : "";
}

std::string error_text(unsigned long code) {
  const char* reason = ::ERR_reason_error_string(code);
  const std::string library = library_name(code);
  std::string text = reason != nullptr ? reason : "unknown error";
  const std::string name = reason_name(code);
  if (!library.empty() && !name.empty()) return "[" + library + ": " + name + "] " + text;
  if (!library.empty()) return "[" + library + "] " + text;
  return text;
}

void throw_error(std::string_view context) {
  const unsigned long code = ::ERR_peek_last_error();
  // For a missing file, the first error of the queue has the errno.
  const unsigned long first = ::ERR_peek_error();
  if (ERR_SYSTEM_ERROR(first)) raise_os_error(ERR_GET_REASON(first), context);
  if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) throw std::bad_alloc();
  if (code == 0) {
    std::string text = "unknown error";
    if (!context.empty()) text.append(": ").append(context);
    throw SSLError(text);
  }
  std::string text = error_text(code);
  if (!context.empty()) text.append(": ").append(context);
  throw SSLError(text, library_name(code), reason_name(code));
}

}  // namespace detail
}  // namespace fiber::ssl
