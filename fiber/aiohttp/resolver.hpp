// The addresses of a session's hosts, cached for a time.
#pragma once

#include <fiber/aiohttp/connectors.hpp>
#include <fiber/asyncio/events.hpp>
#include <fiber/asyncio/sock.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/http/transfer.hpp>

#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fiber::aiohttp::detail {

/// Owned by the engine and by lookups in progress. Tasks that want one host share its lookup, which
/// goes on to the end even if all of them give up.
class AddressBook : public std::enable_shared_from_this<AddressBook> {
 public:
  AddressBook(asyncio::EventLoop loop, const TCPConnector& options)
      : loop_(std::move(loop)),
        resolver_(options.resolver),
        family_(options.family),
        ttl_(options.ttl_dns_cache),
        remembers_(options.use_dns_cache) {}

  /// Returns the addresses of a host, at least one. To be called in a task. Throws OSError.
  std::vector<asyncio::AddressInfo> find(const std::string& host, int port);
  /// Removes addresses that could not be reached.
  void forget(const std::string& host, int port) noexcept;

 private:
  using Clock = http::Transfer::Clock;
  using Key = std::pair<std::string, int>;
  // A failure is a result, not an exception: perhaps no task waits for it any more.
  struct Found {
    std::vector<asyncio::AddressInfo> addresses = {};
    std::exception_ptr error = {};
  };
  struct Entry {
    std::vector<asyncio::AddressInfo> addresses;
    std::optional<Clock::time_point> end;
  };

  std::vector<asyncio::AddressInfo> look_up(const Key& key) const;
  Found found(const Key& key);
  void remember(const Key& key, const std::vector<asyncio::AddressInfo>& addresses);

  asyncio::EventLoop loop_;
  Resolver resolver_;
  int family_;
  std::optional<http::Seconds> ttl_;
  bool remembers_;
  std::map<Key, Entry> entries_;
  std::map<Key, asyncio::Task<Found>> under_way_;
};

}  // namespace fiber::aiohttp::detail
