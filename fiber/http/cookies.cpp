#include <fiber/http/cookies.hpp>

#include <algorithm>
#include <ctime>
#include <tuple>
#include <utility>

namespace fiber::http {
namespace {

bool has_expired(const Cookie& cookie, std::int64_t now) noexcept {
  return cookie.expires != 0 && cookie.expires <= now;
}

bool is_same(const Cookie& a, const Cookie& b) noexcept {
  return a.name == b.name && a.domain == b.domain && a.host_only == b.host_only && a.path == b.path;
}

}  // namespace

std::int64_t CookieStore::system_time() { return std::time(nullptr); }

void CookieStore::set(const std::string& url, const std::vector<std::string>& fields) {
  if (!keeps_ || fields.empty()) return;
  const CookiePlace from = cookie_place(url);
  if (from.host.empty()) return;
  const std::int64_t now = clock_();
  const std::lock_guard lock(mutex_);
  for (const std::string& field : fields) {
    auto cookie = parse_set_cookie(field, from, now);
    if (cookie && (from.secure || !hides_secure_one(*cookie, now))) put(*std::move(cookie), now);
  }
}

void CookieStore::add(Cookie cookie) {
  if (!keeps_) return;
  const std::lock_guard lock(mutex_);
  put(std::move(cookie), clock_());
}

void CookieStore::replace(std::vector<Cookie> cookies) {
  CookieStore others(keeps_, clock_);
  for (Cookie& cookie : cookies) others.add(std::move(cookie));
  const std::lock_guard lock(mutex_);
  sites_.swap(others.sites_);
  count_ = others.count_.load();
  // Moves the new cookies' numbers behind all earlier ones: no serial number is given twice.
  for (auto& [site, entries] : sites_)
    for (Entry& entry : entries) {
      entry.created += serial_;
      entry.used += serial_;
      entry.cookie.serial += serial_;
    }
  serial_ += others.serial_;
}

bool CookieStore::hides_secure_one(const Cookie& cookie, std::int64_t now) const {
  const auto site = sites_.find(site_of(cookie.domain));
  if (site == sites_.end()) return false;
  return std::any_of(site->second.begin(), site->second.end(), [&](const Entry& entry) {
    const Cookie& old = entry.cookie;
    return old.secure && old.name == cookie.name && !has_expired(old, now) &&
           (domain_matches(old.domain, cookie.domain) ||
            domain_matches(cookie.domain, old.domain)) &&
           path_matches(cookie.path, old.path);
  });
}

// Puts the cookie in, or, if it has expired, takes out the cookie that it replaces.
void CookieStore::put(Cookie cookie, std::int64_t now) {
  const auto site = sites_.try_emplace(std::string(site_of(cookie.domain))).first;
  std::vector<Entry>& entries = site->second;
  const auto old = std::find_if(entries.begin(), entries.end(),
                                [&](const Entry& entry) { return is_same(entry.cookie, cookie); });
  if (has_expired(cookie, now)) {
    if (old != entries.end()) {
      entries.erase(old);
      --count_;
    }
    if (entries.empty()) sites_.erase(site);
    return;
  }
  cookie.serial = ++serial_;
  if (old != entries.end()) {
    old->used = cookie.serial;
    old->cookie = std::move(cookie);
    return;
  }
  const std::uint64_t serial = cookie.serial;
  entries.push_back({std::move(cookie), serial, serial});
  ++count_;
  make_room(site, now);
}

void CookieStore::make_room(Sites::iterator site, std::int64_t now) {
  std::vector<Entry>& entries = site->second;
  const bool too_many_of_site = entries.size() > most_of_site && !site->first.empty();
  if (!too_many_of_site && count_ <= most) return;
  drop_expired(now);
  if (!site->first.empty())
    while (entries.size() > most_of_site) {
      entries.erase(
          std::min_element(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
            return std::tuple(a.cookie.secure, a.used) < std::tuple(b.cookie.secure, b.used);
          }));
      --count_;
    }
  while (count_ > most) {
    std::vector<Entry>* owner = nullptr;
    std::vector<Entry>::iterator oldest;
    for (auto& [name, its_entries] : sites_)
      for (auto entry = its_entries.begin(); entry != its_entries.end(); ++entry)
        if (!owner || entry->used < oldest->used) {
          owner = &its_entries;
          oldest = entry;
        }
    owner->erase(oldest);
    --count_;
  }
  std::erase_if(sites_, [](const auto& one) { return one.second.empty(); });
}

void CookieStore::drop_expired(std::int64_t now) {
  for (auto& [name, entries] : sites_)
    count_ -=
        std::erase_if(entries, [&](const Entry& entry) { return has_expired(entry.cookie, now); });
}

Params CookieStore::matching(const CookiePlace& to, const Params& instead) {
  const std::int64_t now = clock_();
  const std::lock_guard lock(mutex_);
  std::vector<Entry*> fitting;
  const std::string_view its_site = site_of(to.host);
  for (const std::string_view key : {its_site, std::string_view()}) {
    const auto site = sites_.find(key);
    if (site == sites_.end() || (key.empty() && !fitting.empty() && its_site.empty())) continue;
    for (Entry& entry : site->second)
      if (!has_expired(entry.cookie, now) && is_sent_to(entry.cookie, to))
        fitting.push_back(&entry);
  }
  const auto rank = [](const Entry* entry) {
    const Cookie& cookie = entry->cookie;
    return std::tuple(cookie.domain.empty(), -static_cast<std::ptrdiff_t>(cookie.path.size()),
                      entry->created);
  };
  std::sort(fitting.begin(), fitting.end(),
            [&](const Entry* a, const Entry* b) { return rank(a) < rank(b); });
  Params cookies;
  const auto has = [](const Params& some, const std::string& name) {
    return std::any_of(some.begin(), some.end(),
                       [&](const auto& one) { return one.first == name; });
  };
  for (Entry* entry : fitting) {
    const Cookie& cookie = entry->cookie;
    // A cookie for every host gives way to a cookie of its name that the host has set: the host may
    // have renewed it.
    if (cookie.domain.empty() &&
        (has(cookies, cookie.name) || (cookie.path == "/" && has(instead, cookie.name))))
      continue;
    cookies.emplace_back(cookie.name, cookie.value);
    entry->used = ++serial_;
  }
  return cookies;
}

std::string CookieStore::header(const std::string& url) {
  std::string text;
  for (const auto& [name, value] : matching(cookie_place(url)))
    text.append(text.empty() ? "" : "; ").append(name).append("=").append(value);
  return text;
}

std::vector<const CookieStore::Entry*> CookieStore::in_order() const {
  const std::int64_t now = clock_();
  std::vector<const Entry*> entries;
  for (const auto& [site, its_entries] : sites_)
    for (const Entry& entry : its_entries)
      if (!has_expired(entry.cookie, now)) entries.push_back(&entry);
  std::sort(entries.begin(), entries.end(),
            [](const Entry* a, const Entry* b) { return a->created < b->created; });
  return entries;
}

std::vector<Cookie> CookieStore::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<Cookie> cookies;
  for (const Entry* entry : in_order()) cookies.push_back(entry->cookie);
  return cookies;
}

Params CookieStore::names_and_values() const {
  const std::lock_guard lock(mutex_);
  Params cookies;
  for (const Entry* entry : in_order())
    cookies.emplace_back(entry->cookie.name, entry->cookie.value);
  return cookies;
}

void CookieStore::clear() {
  const std::lock_guard lock(mutex_);
  sites_.clear();
  count_ = 0;
}

void CookieStore::erase(const std::vector<std::uint64_t>& serials) {
  const std::lock_guard lock(mutex_);
  for (auto& [site, entries] : sites_)
    count_ -= std::erase_if(entries, [&](const Entry& entry) {
      return std::find(serials.begin(), serials.end(), entry.cookie.serial) != serials.end();
    });
  std::erase_if(sites_, [](const auto& one) { return one.second.empty(); });
}

}  // namespace fiber::http
