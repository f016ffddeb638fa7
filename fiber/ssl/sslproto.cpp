#include <fiber/ssl/sslproto.hpp>

#include <fiber/asyncio/exceptions.hpp>
#include <fiber/asyncio/failure.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/transports.hpp>
#include <fiber/exceptions/error_from.hpp>
#include <fiber/exceptions/is_exception.hpp>
#include <fiber/exceptions/repr.hpp>
#include <fiber/platform/thread.hpp>
#include <fiber/ssl/extra_info.hpp>
#include <fiber/ssl/scratch.hpp>

#include <algorithm>
#include <chrono>
#include <tuple>
#include <utility>

namespace fiber::ssl::detail {
namespace {

using asyncio::EventLoop;
using TransportRef = core::Ref<asyncio::detail::TransportObject>;

constexpr std::size_t kHighWater = 512 * 1024;          // of unsent bytes
constexpr std::size_t kIncomingHighWater = 256 * 1024;  // of bytes to be read
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kHandshakeTimeout = 60 * kSecond;
constexpr std::int64_t kShutdownTimeout = 30 * kSecond;

std::string seconds_of(std::int64_t nanoseconds) {
  return fiber::detail::float_repr(static_cast<double>(nanoseconds) / kSecond);
}

}  // namespace

const std::shared_ptr<SslObject> SslLayer::none_;

// A step in the ready queue. Queuing needs no memory and so cannot fail: a task that waits for the
// step would wait forever. While queued, the step keeps the transport, and with it the layer.
class SslLayer::Step final : public asyncio::detail::HandleObject {
 public:
  Step(SslLayer& layer, void (SslLayer::*action)()) noexcept
      : HandleObject(&layer.loop_), layer_(layer), action_(action) {}

  void post() noexcept {
    if (transport_) return;
    transport_ = TransportRef(layer_.transport_);
    retain();
    layer_.loop_.push(asyncio::detail::Entry(this));
  }
  // Called if the step leaves the queue without having been called.
  void dropped() noexcept { transport_ = TransportRef(); }

  void call() override {
    const TransportRef transport = std::exchange(transport_, TransportRef());
    layer_.loop_.ready_queue().claim_again();
    if (layer_.lost_) return;
    const platform::Uncancelled guard;
    try {
      (layer_.*action_)();
    } catch (...) {
      layer_.fatal_error(std::current_exception(), "Fatal error on SSL protocol");
    }
  }

 private:
  SslLayer& layer_;
  void (SslLayer::*action_)();
  TransportRef transport_;
};

void SslLayer::ReleaseStep::operator()(Step* step) const noexcept { step->release(); }

SslLayer::SslLayer(std::shared_ptr<SslObject> object,
                   const asyncio::detail::LayerArguments& arguments)
    : object_(std::move(object)),
      handshake_timeout_(arguments.handshake_timeout.value_or(kHandshakeTimeout)),
      shutdown_timeout_(arguments.shutdown_timeout.value_or(kShutdownTimeout)),
      high_water_(kHighWater),
      low_water_(kHighWater / 4),
      loop_(asyncio::detail::running_loop()),
      go_on_step_(new Step(*this, &SslLayer::go_on)),
      close_step_(new Step(*this, &SslLayer::close_below)) {
  loop_.ready_queue().claim(kSteps);
}

SslLayer::~SslLayer() { loop_.ready_queue().give_back(kSteps); }

void SslLayer::set_timer(std::int64_t delay) {
  timer_ = EventLoop(&transport_->loop())
               .call_later(std::chrono::nanoseconds(delay),
                           [transport = TransportRef(transport_), this] { timed_out(); });
}

void SslLayer::timed_out() {
  if (state_ == State::DO_HANDSHAKE) {
    fatal_error(fiber::detail::error_from([this] {
                  return ConnectionAbortedError("SSL handshake is taking longer than " +
                                                seconds_of(handshake_timeout_) +
                                                " seconds: aborting the connection");
                }),
                "SSL handshake failed");
  } else if (state_ == State::FLUSHING || state_ == State::SHUTDOWN) {
    below_->fail(fiber::detail::error_from([] { return TimeoutError("SSL shutdown timed out"); }));
  }
}

void SslLayer::detached() noexcept {
  lost_ = closed_ = true;
  state_ = State::UNWRAPPED;
  stop_timer();
  go_on_step_->dropped();
  close_step_->dropped();
  if (lower_ != nullptr) lower_->detached();
}

// --- from below ---------------------------------------------------------------------------------

void SslLayer::connection_made() {
  if (lost_ || closed_ || below_->finishing()) return;
  state_ = State::DO_HANDSHAKE;
  set_timer(handshake_timeout_);
  do_handshake();
}

void SslLayer::connection_lost(const std::exception_ptr& error) {
  const bool in_handshake = !done_;
  lost_ = closed_ = true;
  ++refused_;
  state_ = State::UNWRAPPED;
  backlog_.clear();
  outgoing().buffer.clear();
  stop_timer();
  if (made_) above_->connection_lost(error);
  if (!in_handshake) return;
  transport_->handshake_ended(error ? error : fiber::detail::error_from([] {
    return ConnectionAbortedError("the connection was closed before its TLS handshake was done");
  }));
}

void SslLayer::go_on() {
  switch (state_) {
    case State::UNWRAPPED: break;
    case State::DO_HANDSHAKE: do_handshake(); break;
    case State::WRAPPED: do_read(); break;
    case State::FLUSHING: do_flush(); break;
    case State::SHUTDOWN: do_shutdown(); break;
  }
}

void SslLayer::data_received(std::string_view data) {
  struct Lent {
    Bytes& bytes;
    ~Lent() { bytes.borrowed = {}; }
  } lent{incoming()};
  lent.bytes.borrowed = data;
  go_on();
  if (!lost_) lent.bytes.keep();
}

bool SslLayer::eof_received() {
  eof_received_ = true;
  switch (state_) {
    case State::UNWRAPPED: break;
    case State::DO_HANDSHAKE:
      handshake_failed(fiber::detail::error_from([] {
        return ConnectionResetError(
            "the other side has closed the connection during the TLS handshake");
      }));
      break;
    case State::WRAPPED:
      truncated_ = true;
      state_ = State::FLUSHING;
      if (app_reading_paused_) return true;
      do_flush();
      break;
    case State::FLUSHING:
      do_write();
      state_ = State::SHUTDOWN;
      do_shutdown();
      break;
    case State::SHUTDOWN: do_shutdown(); break;
  }
  return false;
}

// --- handshake ----------------------------------------------------------------------------------

void SslLayer::do_handshake() {
  Outcome outcome{};
  try {
    outcome = object_->handshake();
  } catch (...) {
    handshake_failed(std::current_exception());
    return;
  }
  if (outcome == Outcome::done)
    handshake_done();
  else if (outcome == Outcome::closed)
    handshake_failed(fiber::detail::error_from(
        [] { return ConnectionResetError("the other side has ended TLS during its handshake"); }));
  else
    process_outgoing();
}

void SslLayer::handshake_done() {
  stop_timer();
  state_ = State::WRAPPED;
  done_ = true;
  try {
    if (!std::exchange(made_, true)) above_->connection_made();
  } catch (...) {  // no protocol serves the connection
    const std::exception_ptr error = std::current_exception();
    fatal_error(error, "Fatal error: protocol.connection_made() call failed.");
    transport_->handshake_ended(error);
    return;
  }
  transport_->handshake_ended(nullptr);
  do_read();
}

void SslLayer::handshake_failed(std::exception_ptr error) {
  stop_timer();
  // Sends the alert with the reason.
  if (!eof_received_) send_outgoing();
  state_ = State::UNWRAPPED;
  bool certificate = false;
  try {
    std::rethrow_exception(error);
  } catch (const SSLCertVerificationError&) {
    certificate = true;
  } catch (...) {
    // Only the kind of the exception is of interest.
  }
  fatal_error(error, certificate ? "SSL handshake failed on verifying the certificate"
                                 : "SSL handshake failed");
  transport_->handshake_ended(error);
}

// --- reading ------------------------------------------------------------------------------------

void SslLayer::do_read() {
  if (state_ != State::WRAPPED && state_ != State::FLUSHING) return;
  try {
    if (!app_reading_paused_) {
      if (above_->buffered())
        fill_buffers();
      else
        give_data();
      if (lost_) return;
      if (!backlog_.empty()) do_write();
    }
    process_outgoing();
    control_receiving();
  } catch (...) {
    fatal_error(std::current_exception(), "Fatal error on SSL protocol");
  }
}

void SslLayer::give_data() {
  const Scratch scratch;
  for (bool more = true; more && !above_->buffered();) {
    std::size_t filled = 0;
    const Outcome outcome = read_into({scratch.data(), Scratch::kSize}, filled);
    if (filled != 0) above_->data_received({scratch.data(), filled});
    more = goes_on(outcome);
    if (more && above_->buffered()) go_on_step_->post();  // the protocol was replaced
  }
}

// As CPython, fills one buffer per iteration of the loop: the protocol may pause, or be replaced,
// in between. In FLUSHING all data that has come is delivered at once, since no iteration in this
// state follows.
void SslLayer::fill_buffers() {
  for (bool more = true; more && above_->buffered();) {
    const asyncio::detail::ReceiveBuffer to =
        above_->get_buffer(static_cast<std::ptrdiff_t>(incoming().pending()));
    if (to.memory.empty()) return;
    std::size_t filled = 0;
    const Outcome outcome = read_into(to.memory, filled);
    if (filled == to.memory.size() && state_ == State::WRAPPED) go_on_step_->post();
    if (filled != 0) above_->buffer_updated(filled);
    more = goes_on(outcome) && state_ == State::FLUSHING;
  }
}

// Decrypts received data until there is no more of it, or no more room.
Outcome SslLayer::read_into(std::span<char> to, std::size_t& filled) {
  Outcome outcome = Outcome::done;
  while (outcome == Outcome::done && filled < to.size()) {
    std::size_t count = 0;
    outcome = object_->read(to.data() + filled, to.size() - filled, count);
    filled += count;
    // Another call would only return want_read.
    if (outcome == Outcome::done && !object_->has_input()) outcome = Outcome::want_read;
  }
  return outcome;
}

bool SslLayer::goes_on(Outcome outcome) {
  if (outcome == Outcome::closed) {
    truncated_ = false;
    call_eof_received();
    start_shutdown();
  }
  return outcome == Outcome::done && !app_reading_paused_ &&
         (state_ == State::WRAPPED || state_ == State::FLUSHING);
}

void SslLayer::resume_receiving() {
  if (!std::exchange(app_reading_paused_, false) || lost_) return;
  go_on_step_->post();
}

void SslLayer::control_receiving() {
  const std::size_t size = incoming().pending();
  if (size >= kIncomingHighWater && !receiving_paused_) {
    receiving_paused_ = true;
    below_->pause_receiving();
  } else if (size <= kIncomingHighWater / 4 && receiving_paused_) {
    receiving_paused_ = false;
    below_->resume_receiving();
  }
}

void SslLayer::call_eof_received() {
  if (!made_ || std::exchange(eof_told_, true)) return;
  try {
    above_->eof_received();
  } catch (...) {
    fatal_error(std::current_exception(), "Error calling eof_received()");
  }
}

// --- writing ------------------------------------------------------------------------------------

void SslLayer::write(std::string_view data) {
  if (data.empty()) return;
  const bool begun = state_ != State::UNWRAPPED;
  if (closed_ || lost_ || state_ == State::FLUSHING || state_ == State::SHUTDOWN ||
      (!begun && below_->finishing())) {
    constexpr int kWarnFrom = 5;
    if (refused_ >= kWarnFrom)
      asyncio::detail::log(asyncio::LogLevel::warning, "SSL connection is closed");
    if (refused_ <= kWarnFrom) ++refused_;
    return;
  }
  try {
    if (state_ == State::WRAPPED && backlog_.empty()) {
      std::size_t count = 0;
      while (!data.empty() && object_->write(data, count) == Outcome::done)
        data.remove_prefix(count);
    }
    backlog_.append(data);
    process_outgoing();
  } catch (...) {
    fatal_error(std::current_exception(), "Fatal error on SSL protocol");
  }
}

void SslLayer::do_write() {
  std::size_t count = 0;
  while (!backlog_.empty() && object_->write(backlog_.view(), count) == Outcome::done)
    backlog_.consume(count);
  process_outgoing();
}

void SslLayer::send_outgoing() {
  asyncio::detail::ByteBuffer& buffer = outgoing().buffer;
  if (buffer.empty()) return;
  below_->send(buffer.view());
  buffer.clear();
}

void SslLayer::process_outgoing() {
  if (!sending_paused_) send_outgoing();
  control_app_writing();
}

void SslLayer::resume_sending() {
  sending_paused_ = false;
  process_outgoing();
}

void SslLayer::control_app_writing() {
  const std::size_t size = write_buffer_size();
  if (size > high_water_ && !app_writing_paused_) {
    app_writing_paused_ = true;
    above_->pause_sending();
  } else if (size <= low_water_ && app_writing_paused_) {
    app_writing_paused_ = false;
    above_->resume_sending();
  }
}

void SslLayer::set_write_buffer_limits(std::optional<std::size_t> high,
                                       std::optional<std::size_t> low) {
  std::tie(high_water_, low_water_) = asyncio::detail::water_marks(high, low, kHighWater);
  control_app_writing();
}

// --- the end ------------------------------------------------------------------------------------

void SslLayer::close() {
  if (std::exchange(closed_, true)) return;
  switch (state_) {
    case State::UNWRAPPED: below_->finish(); break;
    case State::DO_HANDSHAKE:
    case State::WRAPPED: start_shutdown(); break;
    // The reader, for whom received data was kept, is gone.
    case State::FLUSHING: do_flush(); break;
    case State::SHUTDOWN: break;
  }
}

void SslLayer::fail(std::exception_ptr error) {
  closed_ = true;
  state_ = State::UNWRAPPED;
  stop_timer();
  below_->fail(std::move(error));
}

void SslLayer::start_shutdown() {
  if (state_ != State::DO_HANDSHAKE && state_ != State::WRAPPED) return;
  closed_ = true;
  if (state_ == State::DO_HANDSHAKE) {
    fail(nullptr);
    return;
  }
  state_ = State::FLUSHING;
  set_timer(shutdown_timeout_);
  do_flush();
}

void SslLayer::do_flush() {
  do_read();
  if (state_ != State::FLUSHING) return;
  state_ = State::SHUTDOWN;
  do_shutdown();
}

void SslLayer::do_shutdown() {
  if (eof_received_ && truncated_ && !eof_told_ && !object_->context->suppress_ragged_eofs) {
    fatal_error(fiber::detail::error_from([] {
                  return SSLEOFError(
                      "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol",
                      "SSL", "UNEXPECTED_EOF_WHILE_READING");
                }),
                "Fatal error on SSL protocol");
    return;
  }
  Outcome outcome = Outcome::done;
  try {
    if (!eof_received_) outcome = object_->shutdown_unheard();
  } catch (...) {
    stop_timer();
    send_outgoing();
    fatal_error(std::current_exception(), "Fatal error on transport");
    return;
  }
  process_outgoing();
  // Data that no reader wanted has been thrown away, which makes room: the peer's close_notify may
  // follow it.
  control_receiving();
  if (outcome != Outcome::done) return;
  call_eof_received();
  shutdown_done();
}

void SslLayer::shutdown_done() {
  stop_timer();
  send_outgoing();  // the transport below sends its buffer before it closes
  close_step_->post();
}

void SslLayer::fatal_error(std::exception_ptr error, const char* message) {
  closed_ = true;
  stop_timer();
  below_->fail(error);
  if (is_exception<OSError>(error)) return;
  transport_->loop().errors().report_failure(message, {.exception = std::move(error)});
}

}  // namespace fiber::ssl::detail
