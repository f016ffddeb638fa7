// The seam through which a layer such as TLS comes between a connection and its streams. The base
// library has the seam alone; fiber-ssl fills it.
//
// The connection's events go up through the layers, the stream's actions come down:
//
//   TransportObject (stream)    ReceivesEvents    begin, write, close, ...
//   TransportLayer              SendsBytes  ^     one or several, the newest on top
//   TransportObject (socket)    SendsBytes  |
//
// A connection without a layer has none of these calls.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/standard.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace fiber::asyncio::detail {

class TransportObject;

/// The object below a layer: the socket, or another layer.
class FIBER_API SendsBytes {
 public:
  /// Sends as much as possible at once, and buffers the rest. Does nothing once the end has begun.
  virtual void send(std::string_view data) = 0;
  /// Sends the buffered data, then closes.
  virtual void finish() = 0;
  /// Closes at once; null: without an error. Does nothing once the end has begun.
  virtual void fail(std::exception_ptr error) = 0;
  virtual bool finishing() const noexcept = 0;
  virtual void pause_receiving() = 0;
  virtual void resume_receiving() = 0;

 protected:
  ~SendsBytes() = default;
};

/// Memory for received bytes, and its owner.
struct ReceiveBuffer {
  std::span<char> memory = {};
  std::shared_ptr<const void> owner = {};
};

/// The object above a layer: the stream, or another layer. Called on the loop; must not wait.
class FIBER_API ReceivesEvents {
 public:
  /// Called when the connection can be used.
  virtual void connection_made() = 0;
  /// Gets received bytes, which are valid for the length of the call.
  virtual void data_received(std::string_view data) = 0;
  /// Whether bytes are put into a buffer of the object's own, instead of data_received().
  virtual bool buffered() const noexcept { return false; }
  /// Returns that buffer; `sizehint`: a size that would do.
  virtual ReceiveBuffer get_buffer(std::ptrdiff_t sizehint);
  /// Called when the buffer has got so many bytes.
  virtual void buffer_updated(std::size_t count);
  /// Called when the other side sends no more. Returns false to close the object below.
  virtual bool eof_received() = 0;
  /// The last event, unless there was no connection_made(). Null: lost in good order.
  virtual void connection_lost(const std::exception_ptr& error) = 0;
  /// Called when too much is buffered below, and when that is over.
  virtual void pause_sending() = 0;
  virtual void resume_sending() = 0;

 protected:
  ~ReceivesEvents() = default;
};

/// A layer. Belongs to a TransportObject, and lives as long.
class FIBER_API TransportLayer : public SendsBytes, public ReceivesEvents {
 public:
  TransportLayer() = default;
  TransportLayer(const TransportLayer&) = delete;
  TransportLayer& operator=(const TransportLayer&) = delete;
  virtual ~TransportLayer();

  /// Puts the layer in place; once, before all other calls. `made`: the object above has been told
  /// of its connection already.
  void place(TransportObject& transport, SendsBytes& below, ReceivesEvents& above,
             core::Owner<TransportLayer> lower, bool made) noexcept {
    transport_ = &transport;
    below_ = &below;
    above_ = &above;
    lower_ = std::move(lower);
    made_ = made;
  }
  void set_above(ReceivesEvents& above) noexcept { above_ = &above; }
  /// Nothing comes from below between hold() and begin(); begin() begins the handshake.
  void hold() { below_->pause_receiving(); }
  void begin() {
    connection_made();
    below_->resume_receiving();
  }

  /// Called when the loop is being closed, and the connection is gone: no entry of the layer may
  /// stay in the loop.
  virtual void detached() noexcept = 0;
  /// Gets bytes that had come before the layer, and belong to it.
  virtual void received_before(std::string_view data) = 0;

  // --- the stream's actions, on the top layer ---
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
  core::Owner<TransportLayer> lower_;
  bool made_ = false;
};

/// Returns the limits of buffered data, high and low: a missing one follows from the other. Throws
/// ValueError.
FIBER_API std::pair<std::size_t, std::size_t> water_marks(std::optional<std::size_t> high,
                                                          std::optional<std::size_t> low,
                                                          std::size_t usual_high);

/// Keyword arguments of a layer, as in open_connection and its relatives. Times in nanoseconds of
/// the loop's clock.
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
  /// Returns a layer. Throws ValueError, SSLError.
  virtual core::Owner<TransportLayer> make_layer(const LayerArguments& arguments) = 0;
};

/// Makes the context for `.ssl = true`; fiber-ssl sets this function. `check_hostname`: the name of
/// the server is known.
using default_layer_maker = std::shared_ptr<LayerMaker> (*)(bool check_hostname);
FIBER_API void set_default_layer_maker(default_layer_maker maker) noexcept;

}  // namespace fiber::asyncio::detail

namespace fiber::asyncio {

/// The argument `.ssl`: an ssl::SSLContext, of <fiber/ssl.hpp>; `true` for a connection to a server
/// whose certificate is checked in the usual way; an empty argument or `false` for a plain
/// connection.
class FIBER_API ssl_argument {
 public:
  ssl_argument() noexcept = default;
  ssl_argument(bool wanted) noexcept  // NOLINT(google-explicit-constructor)
      : wanted_(wanted) {}
  ssl_argument(std::shared_ptr<detail::LayerMaker> maker)  // NOLINT(google-explicit-constructor)
      : maker_(std::move(maker)), wanted_(true) {}
  template <class P>
  ssl_argument(P*) = delete;
  ssl_argument(const ssl_argument& other) noexcept;
  ssl_argument(ssl_argument&& other) noexcept;
  ssl_argument& operator=(const ssl_argument& other) noexcept;
  ssl_argument& operator=(ssl_argument&& other) noexcept;
  /// Out of line, as the moves: GCC 12 warns of options without `.ssl` where it inlines them.
  ~ssl_argument();

  explicit operator bool() const noexcept { return wanted_; }
  /// Returns the maker of layers. Throws RuntimeError for `true` if <fiber/ssl.hpp> is not in the
  /// program.
  detail::LayerMaker& maker(bool check_hostname) const;
  /// Returns true for a context, false for a mere `true`.
  bool is_context() const noexcept { return maker_ != nullptr; }

 private:
  mutable std::shared_ptr<detail::LayerMaker> maker_;
  bool wanted_ = false;
};

}  // namespace fiber::asyncio
