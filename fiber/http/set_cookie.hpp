// One cookie of RFC 6265bis: the field that sets the cookie, its hosts and paths, its line in a
// file. Rules about several cookies are in cookies.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fiber::http {

struct Cookie {
  std::string name = {};
  std::string value = {};
  std::string domain = {};  // in lower case; "" for every host
  bool host_only = false;   // not for hosts below `domain`
  std::string path = "/";
  bool secure = false;
  bool http_only = false;
  std::string same_site = {};  // "Strict", "Lax", "None"; "" for anything else
  std::int64_t expires = 0;    // in seconds since 1970; 0 for the end of the session
  std::uint64_t serial = 0;    // given by the store, for each cookie another
};

// The part of a request's URL that cookies depend on.
struct CookiePlace {
  std::string host;  // in lower case, without a port; "[::1]" for an IPv6 address
  std::string path;  // without a query
  bool secure = false;
};
// Returns the place of a prepared URL.
CookiePlace cookie_place(const std::string& url);

// Parses the field Set-Cookie of an answer from `from`. Returns nothing for a cookie to be ignored:
//  - without a name (Python's jars do not keep it either), with a control character, with more
//    than 4 096 bytes of name and value; an attribute of more than 1 024 bytes is left out;
//  - for a domain that does not contain the host, or that contains hosts of several owners
//    ("com", "co.uk"): a public suffix by libpsl; without libpsl, a domain without a dot;
//  - Secure, from a URL that is not;
//  - named __Secure-... or __Host-... without the attributes that this prefix promises.
// SameSite is kept and has no effect: a client of this kind has one site. Dates in the far future
// are accepted, as by Python's clients.
std::optional<Cookie> parse_set_cookie(std::string_view field, const CookiePlace& from,
                                       std::int64_t now);

// Returns seconds since 1970, by the lenient rules of RFC 6265bis, 5.6.1.
std::optional<std::int64_t> parse_cookie_date(std::string_view text);

// Returns the path of a cookie without Path: the path of the URL up to its last slash.
std::string default_cookie_path(std::string_view path);

// Whether a cookie for `domain` and the hosts below it is sent to `host`.
bool domain_matches(std::string_view host, std::string_view domain);
bool path_matches(std::string_view path, std::string_view of_cookie);
bool is_sent_to(const Cookie& cookie, const CookiePlace& to);

// Returns the site of a host, which has one owner: "example.co.uk" for "www.example.co.uk". An
// address, or a public suffix, is its own site.
std::string_view site_of(std::string_view host);

// Throws ValueError for a cookie of the program's own with characters that end a name or value.
void check_cookie(const std::string& name, const std::string& value);

// Returns a line of Netscape's cookies.txt, without its end: domain, whether hosts below it count,
// path, secure, expiry, name and value, with tabs between. The format has no place for same_site.
std::string netscape_line(const Cookie& cookie);
// Parses a line of Netscape's cookies.txt; returns nothing for any other line.
std::optional<Cookie> parse_netscape_line(std::string_view line);

}  // namespace fiber::http
