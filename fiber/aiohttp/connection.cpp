#include <fiber/aiohttp/connection.hpp>

#include <fiber/aiohttp/engine.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/ssl/extra_info.hpp>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include <sys/socket.h>

namespace fiber::aiohttp::detail {
namespace {

// The most bytes that are written at once: a body in memory is not copied whole into the
// transport's buffer.
constexpr std::size_t piece_size = 64 * 1024;
// The most bytes that are kept from a server that sends before the first request.
constexpr std::size_t early_limit = 64 * 1024;

http::Failure failure_of(const std::exception_ptr& error) {
  http::Failure failure{http::Failure::Kind::disconnected, str(error)};
  try {
    std::rethrow_exception(error);
  } catch (const OSError& os) {
    failure.error_number = os.error_number();
  } catch (...) {
    // The text is enough.
  }
  return failure;
}

}  // namespace

void Connection::carry(Ride& ride) {
  ride_ = &ride;
  http::Transfer& transfer = *ride.transfer;
  transfer.attach(std::exchange(used_, true));
  if (const std::string early = std::exchange(early_, {}); !early.empty()) transfer.received(early);
  if (dead_) lost({});
}

void Connection::work() {
  // A connection that has failed takes any number of bytes, and tells of its end in a later
  // iteration of the loop: the source of a body would be read for nothing, perhaps for ever.
  http::Transfer& transfer = *ride_->transfer;
  while (!writing_paused_ && !dead_ && !transport_.is_closing()) {
    const std::string_view piece = transfer.output().substr(0, piece_size);
    if (piece.empty()) break;
    transport_.write(piece);
    transfer.sent(piece.size());
  }
  if (dead_ || transfer.is_over() || transfer.wants_input() != reading_paused_) return;
  reading_paused_ = !reading_paused_;
  if (reading_paused_)
    transport_.pause_reading();
  else
    transport_.resume_reading();
}

void Connection::close() noexcept {
  ride_ = nullptr;
  dead_ = closed_ = true;
  const asyncio::Transport transport = std::exchange(transport_, {});
  if (!transport) return;
  try {
    // Closes at once, so that the server notices. TLS needs abort(): there is more to end than the
    // descriptor.
    if (tls_)
      transport.abort();
    else
      transport.object().stream()->discard();
  } catch (...) {
    // Without memory, the loop closes the transport at its own end.
  }
}

asyncio::Transport Connection::detach() noexcept {
  asyncio::Transport transport = dead_ ? asyncio::Transport() : std::exchange(transport_, {});
  close();
  return transport;
}

// An idle connection may have ended since the loop last polled its descriptor.
bool Connection::is_alive(bool look_closely) const noexcept {
  if (dead_ || !transport_ || transport_.is_closing()) return false;
  if (!look_closely) return true;
  char byte = 0;
  const ssize_t count = ::recv(transport_.fileno(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (count < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
  // With TLS the bytes may be a session ticket; without TLS nothing may arrive now.
  return count > 0 && tls_;
}

void Connection::data_received(std::string_view data) {
  if (closed_) return;
  if (ride_ != nullptr) {
    ride_->transfer->received(data);
    if (tls_ && !session_kept_) keep_session();
    engine_.look(*ride_);
  } else if (!used_ && early_.size() + data.size() <= early_limit) {
    early_ += data;
  } else if (used_) {
    engine_.forget(*this);
    close();
  } else {
    close();
  }
}

void Connection::keep_session() {
  http::Shared* shared = ride_->transfer->shared().get();
  const auto object = transport_ ? transport_.get_extra_info(ssl::ssl_object) : std::nullopt;
  if (shared == nullptr || !object) return;
  session_kept_ = true;
  if (auto session = object->session()) shared->keep(key_, *std::move(session));
}

bool Connection::eof_received() {
  lost({});
  return false;
}

void Connection::connection_lost(const std::exception_ptr& error) {
  std::optional<http::Failure> failure;
  try {
    if (error) failure = failure_of(error);
  } catch (const std::bad_alloc&) {
    if (ride_ != nullptr) ride_->transfer->fail(std::current_exception());
  }
  transport_ = {};  // the transport closes itself
  lost(std::move(failure));
}

void Connection::lost(std::optional<http::Failure> failure) noexcept {
  dead_ = true;
  if (closed_) return;
  if (ride_ != nullptr) {
    ride_->transfer->lost(std::move(failure));
    engine_.look(*ride_);
  } else if (used_) {
    engine_.forget(*this);
    close();
  }
}

void Connection::resume_writing() {
  writing_paused_ = false;
  if (ride_ == nullptr) return;
  ride_->transfer->touch();
  engine_.look(*ride_);
}

}  // namespace fiber::aiohttp::detail
