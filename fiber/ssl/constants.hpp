// Constants of the ssl module, under Python's names.
#pragma once

#include <fiber/config.hpp>

#include <cstdint>
#include <string>

namespace fiber::ssl {

/// The side of a context's connections: clients or servers. Python: ssl.PROTOCOL_TLS_*.
enum class Protocol { PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER };
using enum Protocol;

/// The peers that a context checks: a client checks servers, a server its clients. Python:
/// ssl.Purpose.
enum class Purpose { SERVER_AUTH, CLIENT_AUTH };

/// Whether the peer's certificate is asked for, and checked. OPTIONAL: a client without a
/// certificate is accepted. Python: ssl.VerifyMode.
enum class VerifyMode { CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED };
using enum VerifyMode;

/// Python: ssl.TLSVersion.
enum class TLSVersion : int {
  MINIMUM_SUPPORTED = -2,
  SSLv3 = 0x300,
  TLSv1 = 0x301,
  TLSv1_1 = 0x302,
  TLSv1_2 = 0x303,
  TLSv1_3 = 0x304,
  MAXIMUM_SUPPORTED = -1,
};

/// Bits of SSLContext::options, with OpenSSL's values. Python: ssl.Options.
inline constexpr std::uint64_t OP_NO_SSLv2 = 0;
inline constexpr std::uint64_t OP_SINGLE_DH_USE = 0;
inline constexpr std::uint64_t OP_SINGLE_ECDH_USE = 0;
inline constexpr std::uint64_t OP_LEGACY_SERVER_CONNECT = 1U << 2;
inline constexpr std::uint64_t OP_ENABLE_KTLS = 1U << 3;
inline constexpr std::uint64_t OP_IGNORE_UNEXPECTED_EOF = 1U << 7;
inline constexpr std::uint64_t OP_NO_TICKET = 1U << 14;
inline constexpr std::uint64_t OP_NO_COMPRESSION = 1U << 17;
inline constexpr std::uint64_t OP_ENABLE_MIDDLEBOX_COMPAT = 1U << 20;
inline constexpr std::uint64_t OP_CIPHER_SERVER_PREFERENCE = 1U << 22;
inline constexpr std::uint64_t OP_NO_SSLv3 = 1U << 25;
inline constexpr std::uint64_t OP_NO_TLSv1 = 1U << 26;
inline constexpr std::uint64_t OP_NO_TLSv1_2 = 1U << 27;
inline constexpr std::uint64_t OP_NO_TLSv1_1 = 1U << 28;
inline constexpr std::uint64_t OP_NO_TLSv1_3 = 1U << 29;
inline constexpr std::uint64_t OP_NO_RENEGOTIATION = 1U << 30;
inline constexpr std::uint64_t OP_ALL = 0x80000050;

/// Bits of SSLContext::verify_flags, with OpenSSL's values. Python: ssl.VerifyFlags.
inline constexpr unsigned long VERIFY_DEFAULT = 0;
inline constexpr unsigned long VERIFY_CRL_CHECK_LEAF = 0x4;
inline constexpr unsigned long VERIFY_CRL_CHECK_CHAIN = 0x4 | 0x8;
inline constexpr unsigned long VERIFY_X509_STRICT = 0x20;
inline constexpr unsigned long VERIFY_ALLOW_PROXY_CERTS = 0x40;
inline constexpr unsigned long VERIFY_X509_TRUSTED_FIRST = 0x8000;
inline constexpr unsigned long VERIFY_X509_PARTIAL_CHAIN = 0x80000;

/// The alerts with which an sni_callback may refuse a connection. Python: ssl.AlertDescription.
enum class AlertDescription : int {
  ALERT_DESCRIPTION_CLOSE_NOTIFY = 0,
  ALERT_DESCRIPTION_UNEXPECTED_MESSAGE = 10,
  ALERT_DESCRIPTION_BAD_RECORD_MAC = 20,
  ALERT_DESCRIPTION_RECORD_OVERFLOW = 22,
  ALERT_DESCRIPTION_DECOMPRESSION_FAILURE = 30,
  ALERT_DESCRIPTION_HANDSHAKE_FAILURE = 40,
  ALERT_DESCRIPTION_BAD_CERTIFICATE = 42,
  ALERT_DESCRIPTION_UNSUPPORTED_CERTIFICATE = 43,
  ALERT_DESCRIPTION_CERTIFICATE_REVOKED = 44,
  ALERT_DESCRIPTION_CERTIFICATE_EXPIRED = 45,
  ALERT_DESCRIPTION_CERTIFICATE_UNKNOWN = 46,
  ALERT_DESCRIPTION_ILLEGAL_PARAMETER = 47,
  ALERT_DESCRIPTION_UNKNOWN_CA = 48,
  ALERT_DESCRIPTION_ACCESS_DENIED = 49,
  ALERT_DESCRIPTION_DECODE_ERROR = 50,
  ALERT_DESCRIPTION_DECRYPT_ERROR = 51,
  ALERT_DESCRIPTION_PROTOCOL_VERSION = 70,
  ALERT_DESCRIPTION_INSUFFICIENT_SECURITY = 71,
  ALERT_DESCRIPTION_INTERNAL_ERROR = 80,
  ALERT_DESCRIPTION_USER_CANCELLED = 90,
  ALERT_DESCRIPTION_NO_RENEGOTIATION = 100,
  ALERT_DESCRIPTION_UNSUPPORTED_EXTENSION = 110,
  ALERT_DESCRIPTION_CERTIFICATE_UNOBTAINABLE = 111,
  ALERT_DESCRIPTION_UNRECOGNIZED_NAME = 112,
  ALERT_DESCRIPTION_BAD_CERTIFICATE_STATUS_RESPONSE = 113,
  ALERT_DESCRIPTION_BAD_CERTIFICATE_HASH_VALUE = 114,
  ALERT_DESCRIPTION_UNKNOWN_PSK_IDENTITY = 115,
};
using enum AlertDescription;

/// Returns the version of the OpenSSL in use. Python: ssl.OPENSSL_VERSION.
FIBER_API std::string openssl_version();

}  // namespace fiber::ssl
