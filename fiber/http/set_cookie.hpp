// One cookie, as RFC 6265bis has it: the field that sets it, the hosts and paths that it is for, a
// line of a file with it. What follows from other cookies is in cookies.hpp.
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
  bool host_only = false;   // for no host below `domain`
  std::string path = "/";
  bool secure = false;
  bool http_only = false;
  std::string same_site = {};  // "Strict", "Lax", "None"; "" for what says none of them
  std::int64_t expires = 0;    // in seconds since 1970; 0 for the end of the session
  std::uint64_t serial = 0;    // given by the store: another one for each that is put in
};

// What the URL of a request is to cookies.
struct CookiePlace {
  std::string host;  // in lower case, without a port; "[::1]" for an address of that kind
  std::string path;  // without a query
  bool secure = false;
};
// Of a prepared URL.
CookiePlace cookie_place(const std::string& url);

// Of the field Set-Cookie of an answer from there. Nothing for a cookie that is to be ignored:
//  - without a name (which Python's jars do not keep either), with a control character, with more
//    than 4 096 bytes of name and value; an attribute with more than 1 024 bytes is as none;
//  - for a domain that does not have the host in it, or that has hosts of several owners in it
//    ("com", "co.uk"): a public suffix, as libpsl knows them; without it, one without a dot;
//  - Secure, from a URL that is not;
//  - named __Secure-... or __Host-..., and without the attributes that this promises.
// SameSite is kept, and changes nothing: a client of this kind has one site. Dates that lie far
// ahead are believed, as by Python's clients.
std::optional<Cookie> parse_set_cookie(std::string_view field, const CookiePlace& from,
                                       std::int64_t now);

// In seconds since 1970, by the rules of RFC 6265bis, 5.6.1, which take nearly everything.
std::optional<std::int64_t> parse_cookie_date(std::string_view text);

// The path of a cookie that names none: that of the URL, up to its last slash.
std::string default_cookie_path(std::string_view path);

// Whether a cookie for this domain and hosts below it goes to the host.
bool domain_matches(std::string_view host, std::string_view domain);
bool path_matches(std::string_view path, std::string_view of_cookie);
bool is_sent_to(const Cookie& cookie, const CookiePlace& to);

// What has one owner with this host: "example.co.uk" of "www.example.co.uk". An address, and what
// is a public suffix itself, stands alone.
std::string_view site_of(std::string_view host);

// A line of Netscape's cookies.txt, without its end: domain, whether hosts below it count, path,
// secure, expiry, name and value, with tabs between. It has no place for same_site.
std::string netscape_line(const Cookie& cookie);
// Nothing for what is no such line.
std::optional<Cookie> parse_netscape_line(std::string_view line);

}  // namespace fiber::http
