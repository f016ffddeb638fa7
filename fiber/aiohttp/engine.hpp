// Finds connections for the exchanges of an event loop, and keeps idle connections for further
// ones.
//
// Rules:
//  1. Connections are made by tasks; Ride::transfer tells a task whether its connection is still
//     wanted. All else happens in calls of the loop and of the users of an exchange.
//  2. When look() returns, an exchange that is over has left its connection, now idle or closed.
//  3. The body of a redirect has 50 ms to arrive; then its connection is used again. Otherwise the
//     connection is closed, and the redirect followed.
//  4. The idle connection that was used last is used next.
#pragma once

#include <fiber/aiohttp/connection.hpp>
#include <fiber/aiohttp/connectors.hpp>
#include <fiber/aiohttp/recent_map.hpp>
#include <fiber/aiohttp/resolver.hpp>
#include <fiber/asyncio/coroutines.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/core/block_pool.hpp>
#include <fiber/core/list.hpp>
#include <fiber/core/ref.hpp>
#include <fiber/http/transfer.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace fiber::aiohttp::detail {

/// An exchange on its way through the engine. Owned by the exchange, and by tasks and timers that
/// work for it.
struct Ride final : core::Counted<Ride> {
  explicit Ride(http::Transfer& its_transfer) : transfer(&its_transfer) {}

  static void* operator new(std::size_t size) {
    return core::allocate_block(size, std::align_val_t(alignof(Ride)));
  }
  static void operator delete(void* memory, std::size_t size) noexcept {
    core::release_block(memory, size, std::align_val_t(alignof(Ride)));
  }

  http::Transfer* transfer;  ///< null after Engine::remove()
  std::shared_ptr<Connection> connection;
  std::function<bool()> may_go_on;
  asyncio::Task<void> connecting;
  asyncio::TimerHandle redirect_timer, continue_timer;
  core::Links<Ride> links;  ///< in the engine's list, until Engine::remove()
};

class Engine {
 public:
  Engine(asyncio::EventLoop loop, const TCPConnector& options);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  const asyncio::EventLoop& loop() const noexcept { return loop_; }

  /// Starts the exchange, and follows its redirects. remove() must be called before the exchange or
  /// the engine is destroyed. `may_go_on` is asked before each redirect: if it returns false, the
  /// exchange waits for go_on().
  core::Ref<Ride> add(http::Transfer& transfer, std::function<bool()> may_go_on);
  void go_on(Ride& ride) noexcept;
  /// Takes the exchange out; closes its connection unless the exchange is done. Must not be called
  /// from its on_change.
  void remove(Ride& ride) noexcept;
  /// Removes a transfer that is_upgraded(), and returns its connection; null if that has ended.
  asyncio::Transport detach(Ride& ride) noexcept;

  // --- for connections ---
  /// Acts on a change of the exchange.
  void look(Ride& ride) noexcept;
  /// Forgets an idle connection that has ended.
  void forget(const Connection& connection) noexcept;

 private:
  void guarded(Ride& ride, void (Engine::*step)(Ride&)) noexcept;
  void start(Ride& ride);
  void connect(const core::Ref<Ride>& ride);
  void arrange(Ride& ride);
  void follow_redirect(Ride& ride);
  void leave_connection(Ride& ride) noexcept;
  std::shared_ptr<Connection> take_idle(const http::Transfer& transfer);
  void close_idle(std::size_t most) noexcept;
  void watch_idle();

  asyncio::EventLoop loop_;
  core::List<Ride> rides_;
  RecentMap<std::string, std::vector<std::shared_ptr<Connection>>> idle_;
  std::size_t idle_count_ = 0;
  const std::shared_ptr<const TCPConnector> options_;
  const std::shared_ptr<AddressBook> addresses_;
  const std::size_t most_idle_;
  asyncio::TimerHandle idle_timer_;
};

}  // namespace fiber::aiohttp::detail
