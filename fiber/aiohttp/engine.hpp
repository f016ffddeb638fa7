// Has exchanges carried by connections of an event loop, and keeps those for the next.
//
// Rules:
//  1. Connections are made by tasks, which find out by Ride::transfer whether somebody still wants
//     theirs. All else happens in calls of the loop and of those who use an exchange.
//  2. An exchange that is over has left its connection when look() returns: that is idle, or closed.
//  3. The body of a redirect has 50 ms to arrive, and its connection is used again if it does. It is
//     not waited for longer: the redirect is followed, and the connection closed.
//  4. Of idle connections the one that was used last is used next.
#pragma once

#include <fiber/aiohttp/connection.hpp>
#include <fiber/aiohttp/connectors.hpp>
#include <fiber/aiohttp/resolver.hpp>
#include <fiber/asyncio/coroutines.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/http/transfer.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace fiber::aiohttp::detail {

class Engine {
 public:
  Engine(asyncio::EventLoop loop, const TCPConnector& options);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  const asyncio::EventLoop& loop() const noexcept { return loop_; }

  /// Starts the exchange, and follows its redirects; it must be removed before it is destroyed and
  /// before the engine is.
  void add(http::Transfer& transfer);
  /// Ends it, closing its connection unless it is done. Not from within its on_change.
  void remove(http::Transfer& transfer) noexcept;
  /// The same of one that is_upgraded(), but its connection goes to who calls; none if it has ended.
  asyncio::Transport detach(http::Transfer& transfer) noexcept;

  // --- for connections ---
  /// Something has happened to the exchange.
  void look(http::Transfer& transfer) noexcept;
  /// An idle connection is of no use any more.
  void forget(const Connection& connection) noexcept;

 private:
  struct Ride {
    http::Transfer* transfer;  ///< null once nobody wants it carried
    std::shared_ptr<Connection> connection = {};
    asyncio::Task<void> connecting = {};
    asyncio::TimerHandle redirect_timer = {};
    asyncio::TimerHandle continue_timer = {};
  };

  void start(const std::shared_ptr<Ride>& ride);
  void connect(const std::shared_ptr<Ride>& ride);
  void arrange(const std::shared_ptr<Ride>& ride);
  void follow_redirect(const std::shared_ptr<Ride>& ride);
  void leave_connection(Ride& ride) noexcept;
  std::shared_ptr<Connection> take_idle(const http::Transfer& transfer);
  void close_idle(std::size_t most) noexcept;
  void watch_idle();

  asyncio::EventLoop loop_;
  std::unordered_map<http::Transfer*, std::shared_ptr<Ride>> rides_;
  std::unordered_map<std::string, std::vector<std::shared_ptr<Connection>>> idle_;
  std::size_t idle_count_ = 0;
  const std::shared_ptr<const TCPConnector> options_;
  const std::shared_ptr<AddressBook> addresses_;
  const std::size_t most_idle_;
  asyncio::TimerHandle idle_timer_;
};

}  // namespace fiber::aiohttp::detail
