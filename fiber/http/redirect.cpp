#include <fiber/http/redirect.hpp>

#include <fiber/http/failure.hpp>
#include <fiber/http/text.hpp>
#include <fiber/http/url.hpp>

#include <algorithm>
#include <string_view>
#include <utility>

namespace fiber::http {
namespace {

using Kind = Failure::Kind;

void authorise(Outgoing& request, const BasicAuth& auth) {
  request.headers.set("Authorization", basic_authorization(auth));
}

// In requests `auth` precedes the URL, and both precede the header; aiohttp refuses two of them.
void set_credentials(Outgoing& request) {
  const auto of_url = take_credentials(request.url);
  const auto auth = std::exchange(request.auth, std::nullopt);
  if (request.rules == Rules::aiohttp) {
    if (auth && of_url)
      throw Failure{Kind::invalid_argument,
                    "Cannot combine AUTH argument with credentials encoded in URL"};
    if ((auth || of_url) && request.headers.contains("Authorization"))
      throw Failure{Kind::invalid_argument,
                    "Cannot combine AUTHORIZATION header with AUTH argument or credentials "
                    "encoded in URL"};
    if (auth && auth->username.find(':') != std::string::npos)
      throw Failure{Kind::invalid_argument,
                    "A \":\" is not allowed in login (RFC 1945#section-11.1)"};
  }
  if (auth)
    authorise(request, *auth);
  else if (of_url && request.url_credentials)
    authorise(request, *of_url);
}

void drop_body(Outgoing& request) {
  request.body = {};
  for (const char* name : {"Content-Length", "Content-Type", "Transfer-Encoding"})
    request.headers.erase(name);
}

// Whether aiohttp gives application/octet-stream as the type: for a body without a type and, for
// methods that may have a body, without one.
bool says_octets(const Outgoing& request) {
  static constexpr std::string_view methods[] = {"PATCH", "POST", "PUT"};
  return request.rules == Rules::aiohttp && !request.headers.contains("Content-Type") &&
         (request.body ||
          std::find(std::begin(methods), std::end(methods), request.method) != std::end(methods));
}

bool changes_to_get(const Outgoing& request, int status) {
  const std::string& method = request.method;
  if (status == 303) return method != "HEAD";
  if (request.rules == Rules::requests && status == 302) return method != "HEAD";
  return (status == 301 || status == 302) && method == "POST";
}

std::string location_of(const Outgoing& request, const ResponseHead& head) {
  std::string location = head.headers.get("Location");
  if (location.empty() && request.rules == Rules::aiohttp) location = head.headers.get("URI");
  return location;
}

// Replaces the cookie of that name, or appends a new one.
void put_cookie(Params& cookies, std::string_view name, std::string_view value) {
  const auto old = std::find_if(cookies.begin(), cookies.end(),
                                [&](const auto& cookie) { return cookie.first == name; });
  if (old == cookies.end()) {
    cookies.emplace_back(name, value);
    return;
  }
  old->second = value;
  cookies.erase(std::remove_if(old + 1, cookies.end(),
                               [&](const auto& cookie) { return cookie.first == name; }),
                cookies.end());
}

}  // namespace

std::string quote_cookie(std::string_view value) {
  const auto is_plain = [](char c) { return c == ':' || is_token({&c, 1}); };
  if (std::all_of(value.begin(), value.end(), is_plain)) return std::string(value);
  return quoted_cookie(value, [&](char c) {
    return is_plain(c) || std::string_view(" ()/<=>?@[]{}").find(c) != std::string_view::npos;
  });
}

std::string cookie_field(const Outgoing& request, CookieStore* store) {
  std::string of_caller = request.headers.get("Cookie");
  if (request.rules == Rules::requests && !of_caller.empty()) return of_caller;
  // In requests a call's cookies are for every host and path, in one jar with the session's.
  const Params none, &instead = request.rules == Rules::requests ? request.cookies : none;
  Params cookies =
      store && !store->empty() ? store->matching(cookie_place(request.url), instead) : Params{};
  for (std::string_view rest = of_caller; !rest.empty();) {
    const std::string_view pair = take_item(rest, ';');
    const auto equals = std::min(pair.find('='), pair.size());
    if (!pair.empty())
      put_cookie(cookies, pair.substr(0, equals),
                 equals == pair.size() ? "" : pair.substr(equals + 1));
  }
  for (const auto& [name, value] : request.cookies) {
    if (request.rules == Rules::aiohttp)
      put_cookie(cookies, name, quote_cookie(value));
    else
      cookies.emplace_back(name, value);
  }
  std::string text;
  for (const auto& [name, value] : cookies)
    text.append(text.empty() ? "" : "; ").append(name).append("=").append(value);
  return text;
}

bool sends_length(const Outgoing& request) {
  static constexpr std::string_view without[] = {"GET", "HEAD", "OPTIONS", "TRACE"};
  const auto end = request.rules == Rules::aiohttp ? std::end(without) : without + 2;
  return std::find(without, end, request.method) == end;
}

void check_field(const std::string& name, const std::string& value) {
  constexpr std::string_view line_ends("\r\n\0", 3);
  if (!is_token(name)) throw Failure{Kind::invalid_header, "Invalid header name: '" + name + "'"};
  if (find_any(value, line_ends) != value.npos ||
      (!value.empty() && value[0] <= ' ' && value[0] >= 0))
    throw Failure{Kind::invalid_header,
                  "Invalid leading whitespace, reserved character(s), or return character(s) in "
                  "header value of '" +
                      name + "'"};
}

void make_ready(Outgoing& request) {
  if (!is_token(request.method))
    throw Failure{Kind::invalid_header, "Invalid method: '" + request.method + "'"};
  request.method = upper(request.method);
  set_credentials(request);
  // By a wrong length the server would take the end of the body for a request, or the reverse.
  request.headers.erase("Content-Length");
  if (request.body && !request.headers.contains("Content-Type") &&
      !request.body.content_type().empty())
    request.headers.set("Content-Type", request.body.content_type());
  if (says_octets(request)) request.headers.set("Content-Type", "application/octet-stream");
  for (const auto& [name, value] : request.headers) check_field(name, value);
  for (const auto& [name, value] : request.cookies) check_field("Cookie", "=" + name + value);
}

bool is_followed(const Outgoing& request, const ResponseHead& head) {
  static constexpr int statuses[] = {301, 302, 303, 307, 308};
  return request.follow_redirects &&
         std::find(std::begin(statuses), std::end(statuses), head.status) != std::end(statuses) &&
         !location_of(request, head).empty();
}

void follow(Outgoing& request, const ResponseHead& head) {
  std::string url = resolve_url(request.url, location_of(request, head));
  const auto credentials = take_credentials(url);

  if (changes_to_get(request, head.status)) {
    request.method = "GET";
    drop_body(request);
  } else if (request.rules == Rules::requests && head.status != 307 && head.status != 308) {
    drop_body(request);
  }
  if (request.rules == Rules::requests) {
    request.headers.erase("Cookie");
    request.headers.erase("Proxy-Authorization");
  }
  if (!same_origin(request.url, url)) {
    for (const char* name : {"Authorization", "Cookie", "Host", "Proxy-Authorization"})
      request.headers.erase(name);
    request.cookies.clear();
  }
  // The server that redirects knows better which credentials the new URL needs.
  if (credentials && request.rules == Rules::aiohttp) authorise(request, *credentials);
  request.url = std::move(url);
}

}  // namespace fiber::http
