#include <fiber/aiohttp/resolver.hpp>

#include <fiber/exceptions.hpp>

#include <algorithm>
#include <chrono>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace fiber::aiohttp::detail {
namespace {

// The most hosts that are cached.
constexpr std::size_t most_entries = 1000;

bool is_numeric(const std::string& host) {
  in6_addr unused;
  return ::inet_pton(AF_INET, host.c_str(), &unused) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &unused) == 1;
}

}  // namespace

std::vector<asyncio::AddressInfo> AddressBook::find(const std::string& host, int port) {
  const Key key(host, port);
  if (is_numeric(host))
    return asyncio::await(loop_.getaddrinfo(host, port, {.family = family_, .type = SOCK_STREAM}));
  if (!remembers_) return look_up(key);
  if (const auto entry = entries_.find(key); entry != entries_.end()) {
    if (!entry->second.end || Clock::now() < *entry->second.end) return entry->second.addresses;
    entries_.erase(entry);
  }
  asyncio::Task<Found> task;
  if (const auto begun = under_way_.find(key); begun != under_way_.end()) {
    task = begun->second;
  } else {
    task = loop_.create_task(asyncio::Coroutine<Found>(
        [self = shared_from_this(), key] { return self->found(key); }, "TCPConnector.resolve"));
    // An eager task may be done already.
    if (!task.done()) under_way_.emplace(key, task);
  }
  Found found = asyncio::await(asyncio::shield(task));
  if (found.error) std::rethrow_exception(found.error);
  return std::move(found.addresses);
}

void AddressBook::forget(const std::string& host, int port) noexcept {
  try {
    entries_.erase(Key(host, port));
  } catch (...) {
    // Without memory for the key, the addresses stay until they expire.
  }
}

std::vector<asyncio::AddressInfo> AddressBook::look_up(const Key& key) const {
  const auto& [host, port] = key;
  if (!resolver_)
    return asyncio::await(loop_.getaddrinfo(host, port, {.family = family_, .type = SOCK_STREAM}));
  std::vector<asyncio::AddressInfo> addresses;
  for (asyncio::SocketAddress& address : resolver_(host, port, family_)) {
    const int family = address.family();
    addresses.push_back({.family = family,
                         .type = SOCK_STREAM,
                         .proto = IPPROTO_TCP,
                         .address = std::move(address)});
  }
  if (addresses.empty()) throw OSError("the resolver has no address for '" + host + "'");
  return addresses;
}

AddressBook::Found AddressBook::found(const Key& key) {
  struct Leave {
    AddressBook& self;
    const Key& key;
    ~Leave() { self.under_way_.erase(key); }
  } const leave{*this, key};
  Found found;
  try {
    found.addresses = look_up(key);
    remember(key, found.addresses);
  } catch (const OSError&) {
    found.error = std::current_exception();
  }
  return found;
}

void AddressBook::remember(const Key& key, const std::vector<asyncio::AddressInfo>& addresses) {
  if (entries_.size() >= most_entries) entries_.clear();
  Entry entry{addresses, std::nullopt};
  constexpr http::Seconds for_ever = std::chrono::hours(24 * 365 * 100);
  if (ttl_)
    entry.end =
        Clock::now() + std::chrono::duration_cast<Clock::duration>(std::min(*ttl_, for_ever));
  entries_.insert_or_assign(key, std::move(entry));
}

}  // namespace fiber::aiohttp::detail
