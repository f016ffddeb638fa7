// The cookies of sessions. Python: aiohttp.CookieJar.
//
//   aiohttp::CookieJar jar;
//   jar.load("cookies.txt");
//   asyncio::with(aiohttp::ClientSession({.cookie_jar = jar}), ...);
//   jar.save("cookies.txt");
#pragma once

#include <fiber/http/arguments.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fiber::aiohttp {

namespace detail {
struct JarState;
class Exchange;
class SessionCore;
}  // namespace detail

/// One cookie of a jar. Python: http.cookies.Morsel.
struct Morsel {
  std::string key = {};       ///< its name
  std::string value = {};     ///< as it was sent
  std::string domain = {};    ///< "" for every host
  bool host_only = false;     ///< not for hosts below `domain`
  std::string path = "/";     ///< only URLs whose path is below this one get it
  bool secure = false;        ///< only for https:// and wss://
  bool httponly = false;      ///< not for scripts of browsers
  std::int64_t expires = 0;   ///< in seconds since 1970; 0 for the end of the session
  std::string samesite = {};  ///< "Strict", "Lax", "None", or ""; not saved in files
};

/// A handle to a jar; its copies, and the sessions that got it, share one jar. May be used from any
/// thread. Cookies of hosts that are IP addresses are kept, as with unsafe=True.
/// The rules are those of RFC 6265bis: a cookie for all of "com" or "co.uk" is refused (if the
/// library was built with libpsl; without libpsl, a cookie for a name without a dot), and so is a
/// cookie with more than 4 096 bytes. A jar holds 3 000 cookies, and 180 of one site.
/// Python: aiohttp.CookieJar.
class FIBER_API CookieJar {
 public:
  CookieJar();
  CookieJar(const CookieJar&) noexcept = default;  ///< moving is copying: never empty
  CookieJar& operator=(const CookieJar&) noexcept = default;

  /// Adds names and values that a response from `response_url` has set, for its host only; without
  /// `response_url`, for every host. Throws ValueError for a text that cannot stand in a cookie,
  /// and for an invalid URL.
  void update_cookies(const http::Params& cookies, std::string_view response_url = {});
  /// Returns the cookies to send with a request to this URL. Throws ValueError for an invalid URL.
  http::Params filter_cookies(std::string_view request_url) const;
  /// Returns all cookies that have not expired.
  std::vector<Morsel> morsels() const;
  /// The number of cookies that have not expired.
  std::size_t size() const { return morsels().size(); }

  void clear();  ///< Removes all cookies.
  /// Removes the cookies for which `predicate` holds.
  void clear(const std::function<bool(const Morsel&)>& predicate);
  /// Removes the cookies of this domain and of domains below it.
  void clear_domain(std::string_view domain);

  /// Writes the cookies to a file that only its owner can read, in the format of Netscape's
  /// cookies.txt, which curl and http.cookiejar read, too (Python: JSON, or pickle). Throws
  /// OSError.
  void save(const std::string& path) const;
  /// Replaces the cookies by those of a file in the format of save(). Throws OSError, and
  /// ValueError for a malformed line; then the jar is unchanged.
  void load(const std::string& path);

 protected:
  explicit CookieJar(bool keeps);

 private:
  friend class detail::Exchange;
  friend class detail::SessionCore;

  std::shared_ptr<detail::JarState> state_;
};

/// A jar that keeps nothing. Python: aiohttp.DummyCookieJar.
class FIBER_API DummyCookieJar : public CookieJar {
 public:
  DummyCookieJar() : CookieJar(false) {}
};

}  // namespace fiber::aiohttp
