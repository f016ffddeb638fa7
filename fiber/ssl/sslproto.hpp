// TLS as a layer of a stream's transport. Python: asyncio.sslproto.SSLProtocol of 3.13.
//
// Invariants
//  1. The states follow one another as in CPython: UNWRAPPED, DO_HANDSHAKE, WRAPPED, FLUSHING,
//     SHUTDOWN; each of them may return to UNWRAPPED.
//  2. Written bytes are in `backlog_` until OpenSSL takes them, then in outgoing() until the
//     transport below has room, then below.
//  3. The timer is set only in DO_HANDSHAKE, FLUSHING and SHUTDOWN. A timer or step of this layer
//     that is in the loop has a reference to the transport.
//  4. OpenSSL's larger computations, and callbacks of the user's, run on the loop's own stack.
//  5. OpenSSL borrows received bytes for the length of one call.
#pragma once

#include <fiber/asyncio/events.hpp>
#include <fiber/asyncio/transport_layer.hpp>
#include <fiber/ssl/objects.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace fiber::ssl::detail {

class SslLayer final : public asyncio::detail::TransportLayer {
 public:
  SslLayer(std::shared_ptr<SslObject> object, const asyncio::detail::LayerArguments& arguments);
  ~SslLayer() override;

  /// The connection of OpenSSL; null before the handshake is done.
  const std::shared_ptr<SslObject>& object() const noexcept { return done_ ? object_ : none_; }

  void detached() noexcept override;
  void received_before(std::string_view data) override { incoming().buffer.append(data); }

  void write(std::string_view data) override;
  void close() override;
  void abort() override { fail(nullptr); }
  bool is_closing() const noexcept override { return closed_ || below_->finishing(); }
  std::size_t write_buffer_size() const noexcept override {
    return object_->outgoing->pending() + backlog_.size();
  }
  void set_write_buffer_limits(std::optional<std::size_t> high,
                               std::optional<std::size_t> low) override;
  std::size_t high_water() const noexcept override { return high_water_; }
  std::size_t low_water() const noexcept override { return low_water_; }

  /// For a layer above.
  void send(std::string_view data) override { write(data); }
  void finish() override { close(); }
  void fail(std::exception_ptr error) override;
  bool finishing() const noexcept override { return is_closing(); }
  void pause_receiving() override { app_reading_paused_ = true; }
  void resume_receiving() override;

  /// Called by the transport below.
  void connection_made() override;
  void data_received(std::string_view data) override;
  bool eof_received() override;
  void connection_lost(const std::exception_ptr& error) override;
  void pause_sending() override { sending_paused_ = true; }
  void resume_sending() override;

 private:
  enum class State : std::uint8_t { UNWRAPPED, DO_HANDSHAKE, WRAPPED, FLUSHING, SHUTDOWN };
  /// Calls a function in the next iteration, unless the connection is lost by then.
  class Step;
  struct ReleaseStep {
    void operator()(Step* step) const noexcept;
  };
  using StepPtr = std::unique_ptr<Step, ReleaseStep>;
  static constexpr std::size_t kSteps = 2;
  Bytes& incoming() const noexcept { return *object_->incoming; }
  Bytes& outgoing() const noexcept { return *object_->outgoing; }
  void set_timer(std::int64_t delay);
  void stop_timer() noexcept { timer_.cancel(); }
  void timed_out();

  void go_on();
  void do_handshake();
  void handshake_done();
  void handshake_failed(std::exception_ptr error);
  void do_read();
  void give_data();
  void fill_buffers();
  Outcome read_into(std::span<char> to, std::size_t& filled);
  /// Acts on the end of the peer's data. Returns true if there may be more bytes, for which there
  /// was no room, and reading goes on.
  bool goes_on(Outcome outcome);
  void do_write();
  void do_flush();
  void do_shutdown();
  void start_shutdown();
  void shutdown_done();
  void close_below() { below_->finish(); }
  void process_outgoing();
  void send_outgoing();
  void call_eof_received();
  void control_app_writing();
  void control_receiving();
  void fatal_error(std::exception_ptr error, const char* message);

  static const std::shared_ptr<SslObject> none_;
  std::shared_ptr<SslObject> object_;
  std::int64_t handshake_timeout_;
  std::int64_t shutdown_timeout_;
  State state_ = State::UNWRAPPED;
  bool done_ = false;    ///< the handshake is done
  bool closed_ = false;  ///< by the stream or layer above
  bool lost_ = false;
  bool eof_received_ = false;      ///< the transport below has ended
  bool eof_told_ = false;          ///< the protocol above was told of the end
  bool truncated_ = false;         ///< ended without the peer's close_notify
  bool sending_paused_ = false;    ///< by the transport below
  bool receiving_paused_ = false;  ///< we have paused the transport below
  bool app_reading_paused_ = false;
  bool app_writing_paused_ = false;
  int refused_ = 0;  ///< counts the writes since the end
  std::size_t high_water_;
  std::size_t low_water_;
  asyncio::detail::ByteBuffer backlog_;
  asyncio::Handle timer_;
  asyncio::detail::LoopObject& loop_;
  StepPtr go_on_step_;
  StepPtr close_step_;
};

}  // namespace fiber::ssl::detail
