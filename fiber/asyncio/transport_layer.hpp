// The seam through which a layer such as TLS comes between a connection and its streams. The base
// library has the seam alone; fiber-ssl fills it.
//
// The events of the connection go up through the layers, what the stream does comes down:
//
//   TransportObject (stream)    ReceivesEvents    begin, write, close, ...
//   TransportLayer              SendsBytes  ^     one or several, the newest on top
//   TransportObject (socket)    SendsBytes  |
//
// A connection without a layer takes none of this way.
#pragma once

#include <fiber/config.hpp>
#include <fiber/standard.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace fiber::asyncio::detail {

class TransportObject;

/// What a layer stands on: the socket, or another layer.
class FIBER_API SendsBytes {
 public:
  /// Sends what can be sent at once, and buffers the rest. Does nothing once the end has begun.
  virtual void send(std::string_view data) = 0;
  /// Sends what is buffered, then closes.
  virtual void finish() = 0;
  /// Closes at once; null: without an error. Does nothing once the end has begun.
  virtual void fail(std::exception_ptr error) = 0;
  virtual bool finishing() const noexcept = 0;
  virtual void pause_receiving() = 0;
  virtual void resume_receiving() = 0;

 protected:
  ~SendsBytes() = default;
};

/// What stands on a layer: the stream, or another layer. Called on the loop; may not wait.
class FIBER_API ReceivesEvents {
 public:
  /// The connection can be used from now on.
  virtual void connection_made() = 0;
  /// The bytes stay for the length of the call.
  virtual void data_received(std::string_view data) = 0;
  /// The other side sends no more. False: what is below is to be closed.
  virtual bool eof_received() = 0;
  /// The last event, unless it was told of no connection. Null: lost in good order.
  virtual void connection_lost(const std::exception_ptr& error) = 0;
  /// Too much is buffered below, and then no more.
  virtual void pause_sending() = 0;
  virtual void resume_sending() = 0;

 protected:
  ~ReceivesEvents() = default;
};

/// Belongs to a TransportObject, which lives as long.
class FIBER_API TransportLayer : public SendsBytes, public ReceivesEvents {
 public:
  TransportLayer() = default;
  TransportLayer(const TransportLayer&) = delete;
  TransportLayer& operator=(const TransportLayer&) = delete;
  virtual ~TransportLayer();

  /// Once, before all else. `made`: what is above has been told of its connection already.
  void place(TransportObject& transport, SendsBytes& below, ReceivesEvents& above,
             std::unique_ptr<TransportLayer> lower, bool made) noexcept {
    transport_ = &transport;
    below_ = &below;
    above_ = &above;
    lower_ = std::move(lower);
    made_ = made;
  }
  void set_above(ReceivesEvents& above) noexcept { above_ = &above; }
  /// Nothing comes from below between these two; the second begins the handshake.
  void hold() { below_->pause_receiving(); }
  void begin() {
    connection_made();
    below_->resume_receiving();
  }

  /// The loop is being closed, and the connection is gone: nothing may be left in the loop.
  virtual void detached() noexcept = 0;
  /// Bytes that had come before the layer, and are its own.
  virtual void received_before(std::string_view data) = 0;

  // --- what the stream does, of the top layer ---
  virtual void write(std::string_view data) = 0;
  virtual void close() = 0;
  virtual void abort() = 0;
  virtual bool is_closing() const noexcept = 0;
  virtual std::size_t write_buffer_size() const noexcept = 0;
  virtual void set_write_buffer_limits(std::optional<std::size_t> high,
                                       std::optional<std::size_t> low) = 0;
  virtual std::size_t high_water() const noexcept = 0;
  virtual std::size_t low_water() const noexcept = 0;

 protected:
  TransportObject* transport_ = nullptr;
  SendsBytes* below_ = nullptr;
  ReceivesEvents* above_ = nullptr;
  std::unique_ptr<TransportLayer> lower_;
  bool made_ = false;
};

/// Limits of what is buffered, high and low: one that is not given follows from the other. Throws
/// ValueError.
FIBER_API std::pair<std::size_t, std::size_t> water_marks(std::optional<std::size_t> high,
                                                          std::optional<std::size_t> low,
                                                          std::size_t usual_high);

/// Keyword arguments of a layer, as open_connection and its relatives have them. Times in
/// nanoseconds of the loop's clock.
struct LayerArguments {
  bool server_side = false;
  std::string server_hostname = {};
  std::optional<std::int64_t> handshake_timeout = {};
  std::optional<std::int64_t> shutdown_timeout = {};
};

/// Makes layers: an SSLContext.
class FIBER_API LayerMaker {
 public:
  virtual ~LayerMaker();
  /// Throws ValueError, SSLError.
  virtual std::unique_ptr<TransportLayer> make_layer(const LayerArguments& arguments) = 0;
};

/// Makes what `.ssl = true` stands for; fiber-ssl has set it. `check_hostname`: the name of the
/// server is known.
using default_layer_maker = std::shared_ptr<LayerMaker> (*)(bool check_hostname);
FIBER_API void set_default_layer_maker(default_layer_maker maker) noexcept;

}  // namespace fiber::asyncio::detail

namespace fiber::asyncio {

/// The argument `.ssl`: an ssl::SSLContext, of <fiber/ssl.hpp>; `true` for a connection to a server
/// whose certificate is checked in the usual way; nothing or `false` for a plain connection.
class FIBER_API ssl_argument {
 public:
  ssl_argument() noexcept = default;
  ssl_argument(bool wanted) noexcept  // NOLINT(google-explicit-constructor)
      : wanted_(wanted) {}
  ssl_argument(std::shared_ptr<detail::LayerMaker> maker)  // NOLINT(google-explicit-constructor)
      : maker_(std::move(maker)), wanted_(true) {}
  template <class P>
  ssl_argument(P*) = delete;

  explicit operator bool() const noexcept { return wanted_; }
  /// Throws RuntimeError for `true` if <fiber/ssl.hpp> is not in the program.
  detail::LayerMaker& maker(bool check_hostname) const;
  /// Not just `true`.
  bool is_context() const noexcept { return maker_ != nullptr; }

 private:
  mutable std::shared_ptr<detail::LayerMaker> maker_;
  bool wanted_ = false;
};

}  // namespace fiber::asyncio
