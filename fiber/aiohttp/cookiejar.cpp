#include <fiber/aiohttp/cookiejar.hpp>

#include <fiber/aiohttp/cookiejar_state.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/http/failure.hpp>
#include <fiber/http/text.hpp>
#include <fiber/http/url.hpp>
#include <fiber/http/write_all.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fiber::aiohttp {
namespace {

Morsel morsel_of(http::Cookie cookie) {
  return {.key = std::move(cookie.name),
          .value = std::move(cookie.value),
          .domain = std::move(cookie.domain),
          .host_only = cookie.host_only,
          .path = std::move(cookie.path),
          .secure = cookie.secure,
          .httponly = cookie.http_only,
          .expires = cookie.expires,
          .samesite = std::move(cookie.same_site)};
}

http::CookiePlace place_of(std::string_view text) {
  std::string url;
  try {
    url = http::prepare_url(text, {});
  } catch (const http::Failure& failure) {
    throw ValueError(failure.text);
  }
  http::take_credentials(url);
  return http::cookie_place(url);
}

}  // namespace

CookieJar::CookieJar() : CookieJar(true) {}
CookieJar::CookieJar(bool keeps) : state_(std::make_shared<detail::JarState>(keeps)) {}

void CookieJar::update_cookies(const http::Params& cookies, std::string_view response_url) {
  http::Cookie cookie;
  if (!response_url.empty()) {
    http::CookiePlace place = place_of(response_url);
    cookie.domain = std::move(place.host);
    cookie.host_only = true;
    cookie.path = http::default_cookie_path(place.path);
  }
  for (const auto& [name, value] : cookies) http::check_cookie(name, value);
  for (const auto& [name, value] : cookies) {
    cookie.name = name;
    cookie.value = value;
    state_->store().add(cookie);
  }
}

http::Params CookieJar::filter_cookies(std::string_view request_url) const {
  return state_->store().matching(place_of(request_url));
}

std::vector<Morsel> CookieJar::morsels() const {
  std::vector<Morsel> all;
  for (http::Cookie& cookie : state_->store().all()) all.push_back(morsel_of(std::move(cookie)));
  return all;
}

void CookieJar::clear() { state_->store().clear(); }

void CookieJar::clear(const std::function<bool(const Morsel&)>& predicate) {
  std::vector<std::uint64_t> serials;
  for (http::Cookie& cookie : state_->store().all()) {
    const std::uint64_t serial = cookie.serial;
    if (predicate(morsel_of(std::move(cookie)))) serials.push_back(serial);
  }
  state_->store().erase(serials);
}

void CookieJar::clear_domain(std::string_view domain) {
  const std::string wanted = http::lower(domain);
  clear([&](const Morsel& morsel) { return http::domain_matches(morsel.domain, wanted); });
}

void CookieJar::save(const std::string& path) const {
  std::string text = "# Netscape HTTP Cookie File\n# https://curl.se/docs/http-cookies.html\n\n";
  for (const http::Cookie& cookie : state_->store().all())
    text += http::netscape_line(cookie) + "\n";
  // A new file takes the place of the old one once it is whole: a full disk loses no cookie, and
  // only the owner may read the new file, whatever the mode of the old one was.
  struct stat found {};
  const bool replaces = ::lstat(path.c_str(), &found) != 0 || S_ISREG(found.st_mode);
  std::string made = path + ".XXXXXX";
  const int descriptor = replaces ? ::mkostemp(made.data(), O_CLOEXEC)
                                  : ::open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (descriptor < 0) raise_os_error(errno, "'" + path + "'");
  int error = http::write_all(descriptor, text) ? 0 : errno;
  if (::close(descriptor) != 0 && error == 0) error = errno;
  if (replaces && error == 0 && ::rename(made.c_str(), path.c_str()) != 0) error = errno;
  if (replaces && error != 0) ::unlink(made.c_str());
  if (error != 0) raise_os_error(error, "'" + path + "'");
}

void CookieJar::load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) raise_os_error(errno, "'" + path + "'");
  std::vector<http::Cookie> all;
  for (std::string line; std::getline(file, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || (line.starts_with('#') && !line.starts_with("#HttpOnly_"))) continue;
    auto cookie = http::parse_netscape_line(line);
    if (!cookie)
      throw ValueError("invalid Netscape format cookies file '" + path + "': '" + line + "'");
    all.push_back(*std::move(cookie));
  }
  if (file.bad()) raise_os_error(EIO, "'" + path + "'");
  state_->store().replace(std::move(all));
}

}  // namespace fiber::aiohttp
