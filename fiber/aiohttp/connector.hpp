// Makes a connection for an exchange: names, addresses, proxies and TLS.
#pragma once

#include <fiber/aiohttp/connection.hpp>
#include <fiber/aiohttp/connectors.hpp>
#include <fiber/aiohttp/resolver.hpp>
#include <fiber/asyncio/coroutines.hpp>
#include <fiber/http/transfer.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace fiber::aiohttp::detail {

class Connector {
 public:
  using Factory = std::function<std::shared_ptr<Connection>(const http::Route& route)>;

  /// Copies everything needed from `transfer`, which may be destroyed afterwards.
  Connector(asyncio::EventLoop loop, const http::Transfer& transfer,
            std::shared_ptr<const TCPConnector> options, std::shared_ptr<AddressBook> addresses,
            Factory factory);

  /// Makes the connection. To be called in a task. Throws http::Failure. If cancelled, leaves
  /// nothing open.
  std::shared_ptr<Connection> connect();

 private:
  class Talk;

  std::shared_ptr<Connection> make();
  asyncio::Transport open(const std::shared_ptr<asyncio::Protocol>& protocol);
  std::string host_address();
  void start_tls(const asyncio::Transport& transport,
                 const std::shared_ptr<asyncio::Protocol>& protocol, const std::string& host,
                 bool to_proxy);

  asyncio::EventLoop loop_;
  std::shared_ptr<const TCPConnector> options_;
  std::shared_ptr<AddressBook> addresses_;
  Factory factory_;
  std::shared_ptr<http::Shared> shared_;
  http::Route route_;
  http::Outgoing request_;  ///< URL and arguments of TLS
};

}  // namespace fiber::aiohttp::detail
