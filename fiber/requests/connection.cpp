#include <fiber/requests/connection.hpp>

#include <fiber/core/signal_mask.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/ssl/bio.hpp>
#include <fiber/ssl/object.hpp>

#include <algorithm>
#include <cerrno>
#include <future>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace fiber::requests {
namespace {

using Clock = http::Transfer::Clock;
using Kind = http::Failure::Kind;

constexpr std::size_t block_size = 64 * 1024;

struct TimedOut {};

bool would_block() noexcept { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

int milliseconds_until(const Deadline& deadline) {
  if (!deadline) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now());
  if (left.count() <= 0) throw TimedOut();
  return static_cast<int>(std::min<std::chrono::milliseconds::rep>(left.count(), 1'000'000));
}

// An address gets half of the time that is left: if it does not answer, the others get the rest.
Deadline half_of(const Deadline& whole) {
  if (!whole) return whole;
  const auto now = Clock::now();
  return now + std::max(*whole - now, Clock::duration::zero()) / 2;
}

// A lookup cannot be interrupted: with a time limit it runs on a thread of its own.
std::vector<asyncio::AddressInfo> look_up(const std::string& host, int port,
                                          const Deadline& deadline) {
  asyncio::GetaddrinfoOptions options{.type = SOCK_STREAM};
  if (!deadline) return asyncio::detail::look_up(host, port, options);
  try {
    options.flags = AI_NUMERICHOST;
    return asyncio::detail::look_up(host, port, options);
  } catch (const asyncio::gaierror&) {
    options.flags = 0;
  }
  auto promise = std::make_shared<std::promise<std::vector<asyncio::AddressInfo>>>();
  auto found = promise->get_future();
  const core::SignalsBlocked blocked;  // the new thread inherits this mask
  std::thread([promise, host, port, options] {
    try {
      promise->set_value(asyncio::detail::look_up(host, port, options));
    } catch (...) {
      promise->set_exception(std::current_exception());
    }
  }).detach();
  if (found.wait_until(*deadline) == std::future_status::timeout) throw TimedOut();
  return found.get();
}

}  // namespace

class Connection::Socket final : public ByteStream {
 public:
  explicit Socket(int descriptor) : descriptor_(descriptor), block_(new char[block_size]) {}

  std::size_t send(std::string_view bytes) override {
    const ssize_t count = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (!would_block()) raise_os_error(errno);
    return 0;
  }

  std::optional<std::string_view> receive() override {
    const ssize_t count = ::recv(descriptor_, block_.get(), block_size, 0);
    if (count >= 0) return std::string_view(block_.get(), static_cast<std::size_t>(count));
    if (!would_block()) raise_os_error(errno);
    return std::nullopt;
  }

 private:
  int descriptor_;
  std::unique_ptr<char[]> block_;
};

class Connection::Tls final : public ByteStream {
 public:
  Tls(ByteStream& below, const ssl::SSLContext& context, const std::string& host)
      : below_(below), object_(context.wrap_bio(incoming_, outgoing_, false, host)) {}

  const ssl::SSLObject& object() const noexcept { return object_; }

  // Returns false if more bytes must be received first.
  bool handshake() {
    for (;;) {
      try {
        object_.do_handshake();
        flush();
        return true;
      } catch (const ssl::SSLWantReadError&) {
        flush();
        if (!feed()) return false;
      } catch (...) {
        try {
          flush();  // sends the alert with the reason
        } catch (const OSError&) {
          // The first error is the one to report.
        }
        throw;
      }
    }
  }

  std::size_t send(std::string_view bytes) override {
    if (flush()) return 0;
    const std::size_t count = object_.write(bytes.substr(0, block_size));
    flush();
    return count;
  }

  std::optional<std::string_view> receive() override {
    for (;;) {
      try {
        received_ = object_.read(block_size);
        may_have_more_ = !received_.empty();
        return received_;
      } catch (const ssl::SSLWantReadError&) {
        flush();
        if (feed()) continue;
        may_have_more_ = false;
        return std::nullopt;
      } catch (const ssl::SSLEOFError&) {  // many servers send no close_notify
        received_.clear();
        return received_;
      }
    }
  }

  bool flush() override {
    if (left_.empty()) left_ = outgoing_.read();
    while (!left_.empty()) {
      const std::size_t count = below_.send(left_);
      if (count == 0) return true;
      left_.erase(0, count);
      if (left_.empty()) left_ = outgoing_.read();
    }
    return below_.flush();
  }

  bool may_have_more() const override { return may_have_more_ || below_.may_have_more(); }

 private:
  // Returns false if nothing was received.
  bool feed() {
    const auto bytes = below_.receive();
    if (!bytes) return false;
    if (bytes->empty())
      incoming_.write_eof();
    else
      incoming_.write(*bytes);
    return true;
  }

  ByteStream& below_;
  ssl::MemoryBIO incoming_, outgoing_;
  ssl::SSLObject object_;
  std::string left_;  // bytes to send
  std::string received_;
  bool may_have_more_ = false;
};

Connection::Connection(const http::Transfer& transfer)
    : route_(transfer.route()), url_(transfer.request().url) {
  Deadline deadline;
  if (const auto& limit = transfer.request().connect_timeout) {
    constexpr http::Seconds longest = std::chrono::hours(24 * 365);
    deadline =
        Clock::now() + std::chrono::duration_cast<Clock::duration>(std::min(*limit, longest));
  }
  try {
    const std::string address =
        route_.resolves_host()
            ? addresses(route_.host, route_.port, Kind::resolve, deadline).front().address.host()
            : "";
    open(deadline);
    if (route_.proxy == http::Route::Proxy::https)
      start_tls(transfer, route_.proxy_host, true, deadline);
    if (route_.tunnels()) ask_proxy(address, deadline);
    if (route_.tls) start_tls(transfer, route_.host, false, deadline);
  } catch (...) {
    if (descriptor_ >= 0) ::close(descriptor_);
    try {
      throw;
    } catch (const TimedOut&) {
      throw http::Failure{Kind::connect_timeout, "Connection timed out", 0, url_};
    }
  }
}

Connection::~Connection() {
  try {
    if (tls_ && is_open()) tls_->object().unwrap();
  } catch (...) {
    // unwrap() reports that the peer's close_notify is missing; it is not awaited here.
  }
  try {
    if (tls_) tls_->flush();
  } catch (...) {
    // The descriptor is closed in any case.
  }
  ::close(descriptor_);
}

std::vector<asyncio::AddressInfo> Connection::addresses(const std::string& host, int port,
                                                        Kind failure,
                                                        const Deadline& deadline) const {
  try {
    return look_up(host, port, deadline);
  } catch (const asyncio::gaierror& error) {
    throw http::Failure{failure, error.what(), 0, url_};
  } catch (const std::system_error& error) {  // by std::thread
    throw http::Failure{failure, "No thread to look up '" + host + "': " + error.what(),
                        error.code().value(), url_};
  }
}

void Connection::open(const Deadline& deadline) {
  int error = 0;
  const auto all = addresses(route_.first_host(), route_.first_port(),
                             route_.through_proxy() ? Kind::proxy : Kind::resolve, deadline);
  for (const asyncio::AddressInfo& info : all) {
    const bool last = &info == &all.back();
    if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
    descriptor_ = ::socket(info.family, info.type | SOCK_NONBLOCK | SOCK_CLOEXEC, info.proto);
    if (descriptor_ < 0) {
      error = errno;
      continue;
    }
    if (::connect(descriptor_, info.address.data(), info.address.size()) == 0) {
      error = 0;
    } else if (errno == EINPROGRESS || errno == EINTR) {
      try {
        wait_until(POLLOUT, last ? deadline : half_of(deadline));
        socklen_t size = sizeof error;
        if (::getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
      } catch (const TimedOut&) {
        if (last) throw;
        error = ETIMEDOUT;
      }
    } else {
      error = errno;
    }
    if (error != 0) continue;
    const int on = 1;
    ::setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    socket_ = std::make_unique<Socket>(descriptor_);
    stream_ = socket_.get();
    return;
  }
  throw http::Failure{route_.through_proxy() ? Kind::proxy : Kind::connect,
                      route_.through_proxy() ? "Unable to connect to proxy"
                                             : "Failed to establish a new connection",
                      error, url_};
}

void Connection::start_tls(const http::Transfer& transfer, const std::string& host, bool to_proxy,
                           const Deadline& deadline) {
  http::Shared& shared = *transfer.shared();
  try {
    std::unique_ptr<Tls>& place = to_proxy ? outer_ : tls_;
    place =
        std::make_unique<Tls>(*stream_, shared.context(transfer.request()), http::tls_name(host));
    stream_ = place.get();
    if (!to_proxy)
      if (const auto session = shared.tls_session(route_.key)) place->object().session(*session);
    while (!place->handshake()) wait_until(place->flush() ? POLLIN | POLLOUT : POLLIN, deadline);
  } catch (const OSError& error) {
    throw http::Failure{to_proxy ? Kind::proxy : Kind::tls, error.what(), 0, url_};
  } catch (const ValueError& error) {
    throw http::Failure{to_proxy ? Kind::proxy : Kind::tls, error.what(), 0, url_};
  }
}

void Connection::ask_proxy(const std::string& address, const Deadline& deadline) {
  http::Tunnel tunnel(route_, address);
  try {
    while (!tunnel.done()) {
      send_all(tunnel.take_output(), deadline);
      std::optional<std::string_view> answer;
      while (!(answer = stream_->receive())) wait_until(POLLIN, deadline);
      if (answer->empty()) tunnel.lost();
      tunnel.received(*answer);
    }
  } catch (const OSError& error) {
    throw http::Failure{Kind::proxy, error.what(), 0, url_};
  }
}

void Connection::send_all(std::string_view bytes, const Deadline& deadline) {
  while (!bytes.empty()) {
    const std::size_t count = stream_->send(bytes);
    bytes.remove_prefix(count);
    if (count == 0) wait_until(POLLOUT, deadline);
  }
  while (stream_->flush()) wait_until(POLLOUT, deadline);
}

void Connection::wait_until(short events, const Deadline& deadline) const {
  pollfd wait{descriptor_, events, 0};
  while (::poll(&wait, 1, milliseconds_until(deadline)) < 0)
    if (errno != EINTR) raise_os_error(errno, "poll");
  if (wait.revents == 0) throw TimedOut();
}

bool Connection::is_alive() noexcept {
  try {
    return !stream_->receive();
  } catch (...) {
    return false;
  }
}

bool Connection::is_open() const noexcept {
  char byte = 0;
  const ssize_t count = ::recv(descriptor_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return count < 0 ? would_block() : count > 0;
}

void Connection::work(http::Transfer& transfer) {
  std::optional<http::Failure> unsent;
  sending_ = false;
  try {
    for (std::string_view piece = transfer.output(); !piece.empty(); piece = transfer.output()) {
      const std::size_t count = stream_->send(piece);
      if (count == 0) {
        sending_ = true;
        break;
      }
      transfer.sent(count);
      if (ready_) break;  // received bytes may tell to stop sending
    }
    sending_ = stream_->flush() || sending_;
  } catch (const OSError& error) {
    // The server may have answered before it closed.
    unsent = http::Failure{Kind::disconnected, error.what(), error.error_number(), url_};
    transfer.sending_lost();
    ready_ = true;
  }
  try {
    while (ready_ && transfer.wants_input()) {
      const auto bytes = stream_->receive();
      ready_ = bytes && !bytes->empty() && stream_->may_have_more();
      if (!bytes) {
        // Sending has failed, and no answer has arrived.
        if (unsent) transfer.lost(std::move(unsent));
        break;
      }
      if (bytes->empty()) return transfer.lost();
      transfer.received(*bytes);
      if (tls_ && !session_kept_) keep_session(transfer);
    }
  } catch (const OSError& error) {
    transfer.lost(http::Failure{Kind::disconnected, error.what(), error.error_number(), url_});
  }
}

void Connection::keep_session(const http::Transfer& transfer) {
  session_kept_ = true;
  if (auto session = tls_->object().session())
    transfer.shared()->keep(route_.key, *std::move(session));
}

void Connection::wait(http::Transfer& transfer, int milliseconds) {
  if (ready_ && transfer.wants_input()) return;
  if (!sending_ && !transfer.output().empty()) return;  // received bytes have asked for more
  pollfd wait{descriptor_, 0, 0};
  if (transfer.wants_input()) wait.events |= POLLIN;
  if (sending_) wait.events |= POLLOUT;
  if (::poll(&wait, 1, milliseconds) < 0 && errno != EINTR) raise_os_error(errno, "poll");
  if ((wait.revents & ~POLLOUT) != 0) ready_ = true;
}

}  // namespace fiber::requests
