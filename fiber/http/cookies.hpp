// The cookies of a session, by the rules of RFC 6265bis.
#pragma once

#include <fiber/http/arguments.hpp>
#include <fiber/http/set_cookie.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace fiber::http {

// Any thread may use one. It holds no more than 3 000 cookies, and 180 of one site (its hosts
// together, so that one site cannot push out the cookies of the others): some 18 MB at the worst.
// Of too many, those that have expired go first; of a site those that are not Secure, then those
// that have not been sent for longest; of all of them the latter.
class CookieStore {
 public:
  static constexpr std::size_t most = 3000;
  static constexpr std::size_t most_of_site = 180;
  using Clock = std::int64_t (*)();  // in seconds since 1970

  static std::int64_t system_time();

  // Without `keeps` none are kept, whoever puts them in.
  explicit CookieStore(bool keeps = true, Clock clock = &system_time)
      : keeps_(keeps), clock_(clock) {}
  CookieStore(const CookieStore&) = delete;
  CookieStore& operator=(const CookieStore&) = delete;

  // The fields Set-Cookie of an answer from this prepared URL. An answer that came without TLS does
  // not replace, nor hide, a cookie that is Secure.
  void set(const std::string& url, const std::vector<std::string>& fields);
  // One of the program's own, as it is.
  void add(Cookie cookie);
  // These in place of all that are there.
  void replace(std::vector<Cookie> cookies);

  // What goes out with a request: longer paths first, then the older ones; those for every host
  // last.
  Params matching(const CookiePlace& to);
  // The field Cookie of a request to this prepared URL; "" for none.
  std::string header(const std::string& url);

  // Those that have not expired, in the order in which they came.
  std::vector<Cookie> all() const;
  Params names_and_values() const;
  void clear();
  // Those with these serial numbers.
  void erase(const std::vector<std::uint64_t>& serials);

 private:
  struct Entry {
    Cookie cookie;
    std::uint64_t created;  // of several that were put in, the number of the first
    std::uint64_t used;
  };
  // By site_of() their domain, "" for every host: all that may go to a host, and few others.
  using Sites = std::map<std::string, std::vector<Entry>, std::less<>>;

  void put(Cookie cookie, std::int64_t now);
  bool hides_secure_one(const Cookie& cookie, std::int64_t now) const;
  void make_room(Sites::iterator site, std::int64_t now);
  void drop_expired(std::int64_t now);
  std::vector<const Entry*> in_order() const;

  const bool keeps_;
  const Clock clock_;
  mutable std::mutex mutex_;  // for what follows
  Sites sites_;
  std::size_t count_ = 0;
  std::uint64_t serial_ = 0;
};

}  // namespace fiber::http
