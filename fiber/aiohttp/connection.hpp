// One connection to a server, which exchanges use one after the other.
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

/// Kept by the engine, and by its transport as long as that lasts.
class Connection final : public asyncio::Protocol, public std::enable_shared_from_this<Connection> {
 public:
  using Clock = http::Transfer::Clock;

  Connection(Engine& engine, const http::Route& route)
      : engine_(engine), key_(route.key), tls_(route.tls) {}

  const std::string& key() const noexcept { return key_; }

  /// Has it carry this exchange, until leave().
  void carry(http::Transfer& transfer);
  http::Transfer* carried() const noexcept { return transfer_; }
  void leave() noexcept { transfer_ = nullptr; }
  /// Sends what the exchange has to send, and reads what it has room for.
  void work();
  /// Now; nobody is told.
  void close() noexcept;
  /// Gives its transport away, none if it has ended; it is as after close().
  asyncio::Transport detach() noexcept;

  /// Whether another exchange may use it. Of one that nobody uses.
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

  Engine& engine_;  ///< lives while this carries an exchange, or is idle
  const std::string key_;
  http::Transfer* transfer_ = nullptr;
  asyncio::Transport transport_;
  std::string early_;  ///< what came before the first exchange
  const bool tls_;
  bool used_ = false;
  bool session_kept_ = false;
  bool writing_paused_ = false;
  bool reading_paused_ = false;
  bool dead_ = false;    ///< it has ended, or is closed
  bool closed_ = false;  ///< by close(): the engine may be gone
};

}  // namespace fiber::aiohttp::detail
