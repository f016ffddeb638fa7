// One connection to a server. Exchanges use it one after the other.
#pragma once

#include <fiber/asyncio/coroutines.hpp>
#include <fiber/asyncio/protocols.hpp>
#include <fiber/http/transfer.hpp>

#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

namespace fiber::aiohttp::detail {

class Engine;
struct Ride;

/// Owned by the engine, and by the transport while that lives.
class Connection final : public asyncio::Protocol, public std::enable_shared_from_this<Connection> {
 public:
  using Clock = http::Transfer::Clock;

  Connection(Engine& engine, const http::Route& route)
      : engine_(engine), key_(route.key), tls_(route.tls) {}

  const std::string& key() const noexcept { return key_; }

  /// Carries this exchange from now on, until leave().
  void carry(Ride& ride);
  void leave() noexcept { ride_ = nullptr; }
  /// Sends the output of the exchange, and reads as long as the exchange has room.
  void work();
  /// Closes the connection at once, without telling the engine or the exchange.
  void close() noexcept;
  /// Gives the transport away, null if it has ended. Afterwards this is as after close().
  asyncio::Transport detach() noexcept;

  /// Whether another exchange may use this connection, which must be idle.
  bool is_alive(bool look_closely) const noexcept;
  Clock::time_point idle_since{};

  void connection_made(const asyncio::Transport& transport) override { transport_ = transport; }
  void data_received(std::string_view data) override;
  bool eof_received() override;
  void connection_lost(const std::exception_ptr& error) override;
  void pause_writing() override { writing_paused_ = true; }
  void resume_writing() override;

 private:
  void lost(std::optional<http::Failure> failure) noexcept;
  void keep_session();

  Engine& engine_;  ///< outlives this while an exchange is carried, or while idle
  const std::string key_;
  Ride* ride_ = nullptr;
  asyncio::Transport transport_;
  std::string early_;  ///< bytes received before the first exchange
  const bool tls_;
  bool used_ = false;
  bool session_kept_ = false;
  bool writing_paused_ = false;
  bool reading_paused_ = false;
  bool dead_ = false;    ///< the connection has ended, or is closed
  bool closed_ = false;  ///< close() was called: the engine may be gone
};

}  // namespace fiber::aiohttp::detail
