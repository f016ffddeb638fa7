// The cookies of a session, by the rules of RFC 6265bis.
#pragma once

#include <fiber/http/arguments.hpp>
#include <fiber/http/set_cookie.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace fiber::http {

// A store of cookies, for use from any thread. Holds at most 3 000 cookies, and 180 of one site
// (its hosts together, so that one site cannot push out the others' cookies): 18 MB at worst.
// Beyond that, expired cookies are dropped first; then, within a site, cookies that are not Secure,
// then the cookies that have not been sent for longest; within the whole store, the cookies that
// have not been sent for longest.
class CookieStore {
 public:
  static constexpr std::size_t most = 3000;
  static constexpr std::size_t most_of_site = 180;
  using Clock = std::int64_t (*)();  // in seconds since 1970

  static std::int64_t system_time();

  // Without `keeps`, the store stays empty.
  explicit CookieStore(bool keeps = true, Clock clock = &system_time)
      : keeps_(keeps), clock_(clock) {}
  CookieStore(const CookieStore&) = delete;
  CookieStore& operator=(const CookieStore&) = delete;

  // Takes the fields Set-Cookie of an answer from this prepared URL. An answer without TLS neither
  // replaces nor hides a cookie that is Secure.
  void set(const std::string& url, const std::vector<std::string>& fields);
  // Adds a cookie of the program's own, unchanged.
  void add(Cookie cookie);
  // Replaces all cookies by these.
  void replace(std::vector<Cookie> cookies);

  // Returns the cookies to send with a request: longer paths first, then older cookies first;
  // cookies for every host last. A cookie of `instead` replaces the stored cookies of its name.
  Params matching(const CookiePlace& to, const Params& instead = {});
  // Returns the field Cookie of a request to this prepared URL; "" for none.
  std::string header(const std::string& url);

  bool empty() const noexcept { return count_ == 0; }
  // Returns the cookies that have not expired, in the order of their arrival.
  std::vector<Cookie> all() const;
  Params names_and_values() const;
  void clear();
  // Removes the cookies with these serial numbers.
  void erase(const std::vector<std::uint64_t>& serials);

 private:
  struct Entry {
    Cookie cookie;
    std::uint64_t created;  // the serial number of the first cookie of this name, domain and path
    std::uint64_t used;
  };
  // Keyed by site_of() the domain, "" for every host: a request looks at its own site's cookies.
  using Sites = std::map<std::string, std::vector<Entry>, std::less<>>;

  void put(Cookie cookie, std::int64_t now);
  bool hides_secure_one(const Cookie& cookie, std::int64_t now) const;
  void make_room(Sites::iterator site, std::int64_t now);
  void drop_expired(std::int64_t now);
  std::vector<const Entry*> in_order() const;

  const bool keeps_;
  const Clock clock_;
  mutable std::mutex mutex_;  // for the members below
  Sites sites_;
  std::atomic<std::size_t> count_ = 0;  // may be read without the mutex
  std::uint64_t serial_ = 0;
};

}  // namespace fiber::http
