#include <fiber/aiohttp/cookiejar.hpp>

#include <fiber/aiohttp/cookiejar_state.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/http/failure.hpp>
#include <fiber/http/url.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <fstream>
#include <iterator>
#include <optional>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace fiber::aiohttp {
namespace {

constexpr std::string_view http_only = "#HttpOnly_";

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

// Netscape's format: domain, whether hosts below it count, path, secure, expiry, name and value,
// with tabs between.
std::optional<Morsel> parse(std::string_view line) {
  Morsel morsel;
  if (line.starts_with(http_only)) {
    morsel.httponly = true;
    line.remove_prefix(http_only.size());
  }
  std::array<std::string_view, 7> fields;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const auto tab = line.find('\t');
    if ((tab == line.npos) != (i == 6)) return std::nullopt;
    fields[i] = line.substr(0, tab);
    line.remove_prefix(tab == line.npos ? line.size() : tab + 1);
  }
  const auto is_control = [](char c) { return (static_cast<unsigned char>(c) < ' ') || c == 127; };
  for (const std::string_view field : fields)
    if (std::any_of(field.begin(), field.end(), is_control)) return std::nullopt;
  const auto is_flag = [](std::string_view field) { return field == "TRUE" || field == "FALSE"; };
  const auto number =
      std::from_chars(fields[4].data(), fields[4].data() + fields[4].size(), morsel.expires);
  if (!is_flag(fields[1]) || !is_flag(fields[3]) || fields[5].empty() || number.ec != std::errc() ||
      number.ptr != fields[4].data() + fields[4].size())
    return std::nullopt;
  while (fields[0].starts_with('.')) fields[0].remove_prefix(1);
  morsel.domain = lower(fields[0]);
  morsel.host_only = fields[1] == "FALSE";
  morsel.path = fields[2].starts_with('/') ? fields[2] : "/";
  morsel.secure = fields[3] == "TRUE";
  morsel.key = fields[5];
  morsel.value = fields[6];
  return morsel;
}

std::string line_of(const Morsel& morsel) {
  std::string line(morsel.httponly ? http_only : "");
  if (!morsel.host_only && !morsel.domain.empty()) line += '.';
  line += morsel.domain + (morsel.host_only ? "\tFALSE\t" : "\tTRUE\t") + morsel.path;
  return line + (morsel.secure ? "\tTRUE\t" : "\tFALSE\t") + std::to_string(morsel.expires) + "\t" +
         morsel.key + "\t" + morsel.value;
}

bool has_expired(const Morsel& morsel) {
  return morsel.expires != 0 && morsel.expires <= std::time(nullptr);
}

bool is_within(std::string_view host, std::string_view domain) {
  if (host == domain) return true;
  return host.size() > domain.size() && host.ends_with(domain) &&
         host[host.size() - domain.size() - 1] == '.' &&
         host.find_first_not_of("0123456789.") != host.npos && !host.starts_with('[');
}

// RFC 6265, 5.1.4.
bool is_below(std::string_view path, std::string_view of_cookie) {
  return path.starts_with(of_cookie) && (path.size() == of_cookie.size() ||
                                         of_cookie.ends_with('/') || path[of_cookie.size()] == '/');
}

struct Place {
  std::string host, path;
  bool secure;
};

Place place_of(std::string_view text) {
  std::string url;
  try {
    url = http::prepare_url(text, {});
  } catch (const http::Failure& failure) {
    throw ValueError(failure.text);
  }
  http::take_credentials(url);
  const std::string origin = http::origin_of(url);
  const auto authority = url.find("://") + 3;
  const auto path = url.find_first_of("/?#", authority);
  const std::string rest = path == url.npos || url[path] != '/' ? "/" : url.substr(path);
  return {lower(origin.substr(0, origin.rfind(':'))), rest.substr(0, rest.find_first_of("?#")),
          url.starts_with("https")};
}

void check(const std::string& name, const std::string& value) {
  const auto fits = [](const std::string& text, std::string_view without) {
    return std::none_of(text.begin(), text.end(), [&](unsigned char c) {
      return c < ' ' || c == 127 || without.find(static_cast<char>(c)) != without.npos;
    });
  };
  if (name.empty() || !fits(name, "=; ,\"")) throw ValueError("Illegal key '" + name + "'");
  if (!fits(value, ";")) throw ValueError("Illegal value of the cookie '" + name + "'");
}

}  // namespace

CookieJar::CookieJar() : CookieJar(true) {}
CookieJar::CookieJar(bool keeps) : state_(std::make_shared<detail::JarState>(keeps)) {}

void CookieJar::update_cookies(const http::Params& cookies, std::string_view response_url) {
  if (!state_->keeps) return;
  for (const auto& [name, value] : cookies) check(name, value);
  if (response_url.empty()) {
    const std::lock_guard lock(state_->mutex);
    for (const auto& cookie : cookies) {
      std::erase_if(state_->for_all, [&](const auto& old) { return old.first == cookie.first; });
      state_->for_all.push_back(cookie);
    }
    return;
  }
  const Place place = place_of(response_url);
  const auto slash = place.path.rfind('/');
  Morsel morsel{.domain = place.host,
                .host_only = true,
                .path = place.path.substr(0, std::max<std::size_t>(slash, 1))};
  for (const auto& [name, value] : cookies) {
    morsel.key = name;
    morsel.value = value;
    state_->shared->add_cookie(line_of(morsel));
  }
}

http::Params CookieJar::filter_cookies(std::string_view request_url) const {
  const Place place = place_of(request_url);
  std::vector<Morsel> fitting;
  for (Morsel& morsel : morsels()) {
    const bool for_host =
        morsel.domain.empty() ||
        (morsel.host_only ? place.host == morsel.domain : is_within(place.host, morsel.domain));
    if (for_host && is_below(place.path, morsel.path) && (place.secure || !morsel.secure))
      fitting.push_back(std::move(morsel));
  }
  // The more it says about the path, the earlier it comes.
  std::stable_sort(fitting.begin(), fitting.end(),
                   [](const Morsel& a, const Morsel& b) { return a.path.size() > b.path.size(); });
  http::Params cookies;
  for (Morsel& morsel : fitting)
    cookies.emplace_back(std::move(morsel.key), std::move(morsel.value));
  return cookies;
}

std::vector<Morsel> CookieJar::morsels() const {
  std::vector<Morsel> all;
  for (const std::string& line : state_->shared->cookie_lines())
    if (auto morsel = parse(line); morsel && !has_expired(*morsel))
      all.push_back(*std::move(morsel));
  const std::lock_guard lock(state_->mutex);
  for (const auto& [name, value] : state_->for_all) all.push_back({.key = name, .value = value});
  return all;
}

void CookieJar::clear() {
  state_->shared->clear_cookies();
  const std::lock_guard lock(state_->mutex);
  state_->for_all.clear();
}

void CookieJar::clear(const std::function<bool(const Morsel&)>& predicate) {
  const std::vector<Morsel> all = morsels();
  std::vector<bool> kept;
  for (const Morsel& morsel : all) kept.push_back(!predicate(morsel));
  clear();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!kept[i]) continue;
    if (all[i].domain.empty())
      update_cookies({{all[i].key, all[i].value}});
    else
      state_->shared->add_cookie(line_of(all[i]));
  }
}

void CookieJar::clear_domain(std::string_view domain) {
  const std::string wanted = lower(domain);
  clear([&](const Morsel& morsel) { return is_within(morsel.domain, wanted); });
}

void CookieJar::save(const std::string& path) const {
  std::string text = "# Netscape HTTP Cookie File\n# https://curl.se/docs/http-cookies.html\n\n";
  for (const Morsel& morsel : morsels()) text += line_of(morsel) + "\n";
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (descriptor < 0) raise_os_error(errno, "'" + path + "'");
  int error = 0;
  for (std::string_view rest = text; !rest.empty() && error == 0;) {
    const ssize_t written = ::write(descriptor, rest.data(), rest.size());
    if (written >= 0)
      rest.remove_prefix(static_cast<std::size_t>(written));
    else if (errno != EINTR)
      error = errno;
  }
  if (::close(descriptor) != 0 && error == 0) error = errno;
  if (error != 0) raise_os_error(error, "'" + path + "'");
}

void CookieJar::load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) raise_os_error(errno, "'" + path + "'");
  std::vector<Morsel> all;
  for (std::string line; std::getline(file, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || (line.starts_with('#') && !line.starts_with(http_only))) continue;
    auto morsel = parse(line);
    if (!morsel)
      throw ValueError("invalid Netscape format cookies file '" + path + "': '" + line + "'");
    if (!has_expired(*morsel)) all.push_back(*std::move(morsel));
  }
  if (file.bad()) raise_os_error(EIO, "'" + path + "'");
  clear();
  if (!state_->keeps) return;
  for (const Morsel& morsel : all) {
    if (morsel.domain.empty())
      update_cookies({{morsel.key, morsel.value}});
    else
      state_->shared->add_cookie(line_of(morsel));
  }
}

}  // namespace fiber::aiohttp
