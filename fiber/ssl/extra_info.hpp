// The keys of StreamWriter::get_extra_info for a TLS connection, after its handshake.
//
//   if (auto certificate = writer.get_extra_info(ssl::peercert)) ...
#pragma once

#include <fiber/asyncio/streams.hpp>
#include <fiber/ssl/object.hpp>

#include <optional>

namespace fiber::ssl {
namespace detail {

/// Returns nothing before the handshake, and for a connection without TLS.
FIBER_API std::optional<SSLObject> object_of(const asyncio::detail::TransportObject& transport);
/// The context that an argument `.ssl` is; nothing for `true`, `false` and one that resumes.
FIBER_API std::optional<SSLContext> context_of(const asyncio::ssl_argument& argument);
FIBER_API bool use_as_default() noexcept;
/// Makes `.ssl = true` work in every program that includes this header.
inline const bool kUsedAsDefault = use_as_default();

struct SslObjectKey {
  std::optional<SSLObject> of(const asyncio::detail::TransportObject& transport) const {
    return object_of(transport);
  }
};
struct SslContextKey {
  std::optional<SSLContext> of(const asyncio::detail::TransportObject& transport) const {
    const std::optional<SSLObject> object = object_of(transport);
    if (!object) return std::nullopt;
    return object->context();
  }
};
struct PeerCertKey {
  std::optional<Certificate> of(const asyncio::detail::TransportObject& transport) const {
    const std::optional<SSLObject> object = object_of(transport);
    return object ? object->getpeercert() : std::nullopt;
  }
};
struct CipherKey {
  std::optional<Cipher> of(const asyncio::detail::TransportObject& transport) const {
    const std::optional<SSLObject> object = object_of(transport);
    return object ? object->cipher() : std::nullopt;
  }
};
struct CompressionKey {
  std::optional<std::string> of(const asyncio::detail::TransportObject& transport) const {
    const std::optional<SSLObject> object = object_of(transport);
    return object ? object->compression() : std::nullopt;
  }
};

}  // namespace detail

/// The keys: Python's "ssl_object", "sslcontext", "peercert", "cipher", "compression".
inline constexpr detail::SslObjectKey ssl_object{};
inline constexpr detail::SslContextKey sslcontext{};
inline constexpr detail::PeerCertKey peercert{};
inline constexpr detail::CipherKey cipher{};
inline constexpr detail::CompressionKey compression{};

}  // namespace fiber::ssl
