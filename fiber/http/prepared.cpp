#include <fiber/http/prepared.hpp>

#include <fiber/http/decoder.hpp>
#include <fiber/http/failure.hpp>
#include <fiber/http/redirect.hpp>
#include <fiber/http/url.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace fiber::http {
namespace {

// A body up to this size is sent with the head.
constexpr std::size_t short_body = 16 * 1024;

void add_field(std::string& head, std::string_view name, std::string_view value) {
  head.append(name).append(value.empty() ? ":" : ": ").append(value).append("\r\n");
}

// The dot at the end of a host is for resolvers: requests sends it, aiohttp does not.
std::string host_field(const Route& route, Rules rules) {
  std::string host = route.origin;
  const auto end = std::min(host.find(':'), host.size());
  if (rules == Rules::aiohttp && end > 0 && host[end - 1] == '.') host.erase(end - 1, 1);
  return host;
}

}  // namespace

Prepared::Prepared(Outgoing&& ready) : request(std::move(ready)) {
  try {
    if (request.verify.bundle().find('\0') != std::string::npos)
      throw Failure{Failure::Kind::invalid_argument, "verify: embedded null byte in the path"};
    const UrlParts url = split_url(request.url);
    route = route_of(request, url);
    answer_url_size = request.rules == Rules::aiohttp
                          ? std::min(request.url.find('#'), request.url.size())
                          : request.url.size();
    choose_sending();
    write_head(url.target);
  } catch (Failure& failure) {
    if (failure.url.empty()) failure.url = request.url;
    throw;
  }
}

void Prepared::choose_sending() {
  if (!request.body && !request.headers.contains("Transfer-Encoding")) return;
  sending = Sending::bytes;
  if (BodySource* source = request.body.source().get()) {
    // The source is rewound even for the first sending: another request may have sent the body.
    if (!source->rewind())
      throw Failure{Failure::Kind::unrewindable,
                    "Unable to rewind request body for redirect or another try."};
    auto size = source->size();
    // Requests sends an empty source in chunks, too.
    if (size == std::uint64_t{0} && request.rules == Rules::requests) size.reset();
    if (!size && !request.headers.contains("Transfer-Encoding"))
      request.headers.set("Transfer-Encoding", "chunked");
    sending = size ? Sending::counted : Sending::chunked;
  }
  if (equal_ignoring_case(request.headers.get("Transfer-Encoding"), "chunked"))
    sending = Sending::chunked;
}

void Prepared::write_head(std::string_view target) {
  const Headers& headers = request.headers;
  head.reserve(512);  // most heads fit
  head.append(request.method).append(" ");
  if (route.absolute()) head.append("http://").append(route.origin);
  head.append(target).append(" HTTP/1.1\r\n");
  add_field(head, "Host", headers.get("Host", host_field(route, request.rules)));
  if (route.absolute() && route.proxy_auth && !headers.contains("Proxy-Authorization"))
    add_field(head, "Proxy-Authorization", proxy_authorization(route));
  for (const auto& [name, value] : headers) {
    const bool cookie = equal_ignoring_case(name, "Cookie");
    has_cookie_field = has_cookie_field || cookie;
    if (!cookie && !equal_ignoring_case(name, "Host")) add_field(head, name, value);
  }
  // A session of requests has a field of its own, which a program may take away.
  if (request.rules == Rules::aiohttp && !headers.contains("Accept"))
    add_field(head, "Accept", "*/*");
  if (!headers.contains("Accept-Encoding")) add_field(head, "Accept-Encoding", accepted_encodings);
  cookie_place = head.size();
  put_length();
  head += "\r\n";
  put_short_body();
}

void Prepared::put_length() {
  if (sending == Sending::counted)
    add_field(head, "Content-Length", std::to_string(*request.body.source()->size()));
  else if (sending == Sending::bytes)
    add_field(head, "Content-Length", std::to_string(request.body.bytes().size()));
  else if (sending == Sending::nothing && sends_length(request))
    add_field(head, "Content-Length", "0");
}

void Prepared::put_short_body() {
  const std::string& bytes = request.body.bytes();
  if ((sending == Sending::bytes && bytes.empty()) ||
      (sending == Sending::counted && request.body.source()->size() == std::uint64_t{0}))
    sending = Sending::nothing;
  if (sending == Sending::nothing) return;
  expects = equal_ignoring_case(request.headers.get("Expect"), "100-continue");
  if (expects || sending != Sending::bytes || bytes.size() > short_body) return;
  head += bytes;
  sending = Sending::nothing;
}

std::string Prepared::head_with(std::string_view cookies) const {
  std::string whole;
  whole.reserve(head.size() + cookies.size() + 16);
  whole.append(head, 0, cookie_place);
  if (!cookies.empty()) add_field(whole, "Cookie", cookies);
  return whole.append(head, cookie_place);
}

std::shared_ptr<Prepared> prepare(Outgoing&& request) {
  make_ready(request);
  return std::make_shared<Prepared>(std::move(request));
}

}  // namespace fiber::http
