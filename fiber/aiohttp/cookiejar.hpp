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

/// One cookie of a jar: http.cookies.Morsel.
struct Morsel {
  std::string key = {};
  std::string value = {};
  std::string domain = {};  ///< "" for every host
  bool host_only = false;   ///< for no host below `domain`
  std::string path = "/";
  bool secure = false;
  bool httponly = false;
  std::int64_t expires = 0;   ///< in seconds since 1970; 0 for the end of the session
  std::string samesite = {};  ///< "Strict", "Lax", "None", or "" (which a file has no place for)
};

/// aiohttp.CookieJar: a handle, whose copies, and the sessions that it is given to, share one jar.
/// Any thread may use it. Cookies of hosts that are IP addresses are kept, as with unsafe=True.
/// The rules are those of RFC 6265bis: a cookie for all of "com" or "co.uk" is refused (where the
/// library was built with libpsl; without it, for names without a dot), and so is one with more
/// than 4 096 bytes. It holds 3 000 of them, and 180 of one site.
class FIBER_API CookieJar {
 public:
  CookieJar();

  /// Names and values that a response from `response_url` has set, for its host alone; without one
  /// they are for every host. Throws ValueError for what cannot stand in a cookie, and for a URL
  /// that is none.
  void update_cookies(const http::Params& cookies, std::string_view response_url = {});
  /// What goes out with a request to this URL. Throws ValueError for one that is none.
  http::Params filter_cookies(std::string_view request_url) const;
  /// All that have not expired.
  std::vector<Morsel> morsels() const;
  std::size_t size() const { return morsels().size(); }

  void clear();
  /// Those for which `predicate` holds.
  void clear(const std::function<bool(const Morsel&)>& predicate);
  /// Those of this domain and of what is below it.
  void clear_domain(std::string_view domain);

  /// Writes them to a file for its owner's eyes alone, in the form of Netscape's cookies.txt, which
  /// curl and http.cookiejar read too (Python: JSON, or pickle). Throws OSError.
  void save(const std::string& path) const;
  /// Puts those of such a file in place of what is there. Throws OSError, and ValueError for a line
  /// that is none, with the jar as it was.
  void load(const std::string& path);

 protected:
  explicit CookieJar(bool keeps);

 private:
  friend class detail::Exchange;
  friend class detail::SessionCore;

  std::shared_ptr<detail::JarState> state_;
};

/// aiohttp.DummyCookieJar: keeps nothing.
class FIBER_API DummyCookieJar : public CookieJar {
 public:
  DummyCookieJar() : CookieJar(false) {}
};

}  // namespace fiber::aiohttp
