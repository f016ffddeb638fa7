#include <fiber/aiohttp/connector.hpp>

#include <fiber/aiohttp/times.hpp>
#include <fiber/asyncio/connecting.hpp>
#include <fiber/asyncio/connections.hpp>
#include <fiber/asyncio/sock.hpp>
#include <fiber/asyncio/timeouts.hpp>
#include <fiber/exceptions.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

namespace fiber::aiohttp::detail {
namespace {

using asyncio::await;
using Kind = http::Failure::Kind;

// Closes a transport at the end of a scope, unless released.
class Guard {
 public:
  explicit Guard(asyncio::Transport transport) : transport_(std::move(transport)) {}
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  ~Guard() {
    try {
      if (transport_) transport_.abort();
    } catch (...) {
      // Without memory, the loop closes the transport at its own end.
    }
  }
  const asyncio::Transport& transport() const noexcept { return transport_; }
  void release() noexcept { transport_ = {}; }

 private:
  asyncio::Transport transport_;
};

}  // namespace

// The protocol of the dialogue with a proxy. One task may wait.
class Connector::Talk final : public asyncio::Protocol {
 public:
  explicit Talk(asyncio::EventLoop loop) : loop_(std::move(loop)) {}

  // Waits for bytes and returns them; "" at the end.
  std::string receive() {
    while (received_.empty() && !ended_) {
      waiter_ = loop_.create_future<void>();
      await(waiter_);
    }
    return std::exchange(received_, {});
  }

  void data_received(std::string_view data) override {
    received_ += data;
    wake();
  }
  bool eof_received() override {
    ended_ = true;
    wake();
    return false;
  }
  void connection_lost(const std::exception_ptr&) override {
    ended_ = true;
    wake();
  }

 private:
  void wake() {
    if (waiter_ && !waiter_.done()) waiter_.set_result();
  }

  asyncio::EventLoop loop_;
  asyncio::Future<void> waiter_;
  std::string received_;
  bool ended_ = false;
};

Connector::Connector(asyncio::EventLoop loop, const http::Transfer& transfer,
                     std::shared_ptr<const TCPConnector> options,
                     std::shared_ptr<AddressBook> addresses, Factory factory)
    : loop_(std::move(loop)),
      options_(std::move(options)),
      addresses_(std::move(addresses)),
      factory_(std::move(factory)),
      shared_(transfer.shared()),
      route_(transfer.route()) {
  const http::Outgoing& request = transfer.request();
  request_.url = request.url;
  request_.verify = request.verify;
  request_.context = request.context;
  request_.certificate = request.certificate;
  request_.key = request.key;
  request_.connect_timeout = request.connect_timeout;
}

std::shared_ptr<Connection> Connector::connect() {
  if (!request_.connect_timeout) return make();
  std::shared_ptr<Connection> connection;
  try {
    asyncio::with(asyncio::timeout(nanoseconds(*request_.connect_timeout)),
                  [&](asyncio::Timeout&) { connection = make(); });
  } catch (const TimeoutError&) {
    if (connection) connection->close();
    throw http::Failure{Kind::connect_timeout, "Connection timed out", 0, request_.url};
  } catch (...) {
    if (connection) connection->close();
    throw;
  }
  return connection;
}

std::shared_ptr<Connection> Connector::make() {
  std::shared_ptr<Connection> connection = factory_(route_);
  const bool directly =
      !route_.tls && !route_.tunnels() && route_.proxy != http::Route::Proxy::https;
  if (directly) {
    open(connection);
    return connection;
  }
  const auto talk = std::make_shared<Talk>(loop_);
  const std::string address = route_.resolves_host() ? host_address() : "";
  Guard guard(open(talk));
  const asyncio::Transport& transport = guard.transport();
  if (route_.proxy == http::Route::Proxy::https)
    start_tls(transport, talk, route_.proxy_host, true);
  if (route_.tunnels()) {
    http::Tunnel tunnel(route_, address);
    while (!tunnel.done()) {
      if (const std::string output = tunnel.take_output(); !output.empty()) transport.write(output);
      const std::string answer = talk->receive();
      if (answer.empty()) tunnel.lost();
      tunnel.received(answer);
    }
  }
  if (route_.tls)
    start_tls(transport, connection, route_.host, false);
  else
    transport.set_protocol(connection);
  connection->connection_made(transport);
  guard.release();
  return connection;
}

// Turns errors of getaddrinfo and connect() into failures of the host or of the proxy.
asyncio::Transport Connector::open(const std::shared_ptr<asyncio::Protocol>& protocol) {
  const auto failure = [&](Kind kind, const Exception& error, int number) {
    return http::Failure{route_.through_proxy() ? Kind::proxy : kind, error.what(), number,
                         request_.url};
  };
  const std::string& host = route_.first_host();
  const int port = route_.first_port();
  try {
    if (!options_->path.empty())
      return await(loop_.create_unix_connection([&] { return protocol; }, options_->path)).first;
    asyncio::CreateConnectionOptions options{.local_addr = options_->local_addr,
                                             .interleave = options_->interleave};
    const auto addresses = addresses_->find(host, port);
    if (options_->happy_eyeballs_delay && addresses.size() > 1)
      options.happy_eyeballs_delay = nanoseconds(*options_->happy_eyeballs_delay);
    try {
      return asyncio::detail::connect_protocol(
          loop_.object(), [&] { return protocol; }, addresses, options);
    } catch (const OSError&) {
      addresses_->forget(host, port);
      throw;
    }
  } catch (const asyncio::gaierror& error) {
    throw failure(Kind::resolve, error, 0);
  } catch (const OSError& error) {
    throw failure(Kind::connect, error, error.error_number());
  }
}

std::string Connector::host_address() {
  try {
    return addresses_->find(route_.host, route_.port).front().address.host();
  } catch (const OSError& error) {
    throw http::Failure{Kind::resolve, error.what(), 0, request_.url};
  }
}

void Connector::start_tls(const asyncio::Transport& transport,
                          const std::shared_ptr<asyncio::Protocol>& protocol,
                          const std::string& host, bool to_proxy) {
  try {
    const ssl::SSLContext context = shared_->context(request_);
    asyncio::ssl_argument argument = context;
    if (!to_proxy)
      if (const auto session = shared_->tls_session(route_.key); session)
        argument = context.resuming(*session);
    await(
        loop_.start_tls(transport, protocol, argument, {.server_hostname = http::tls_name(host)}));
  } catch (const OSError& error) {
    throw http::Failure{to_proxy ? Kind::proxy : Kind::tls, error.what(), error.error_number(),
                        request_.url};
  } catch (const ValueError& error) {
    throw http::Failure{to_proxy ? Kind::proxy : Kind::tls, error.what(), 0, request_.url};
  }
}

}  // namespace fiber::aiohttp::detail
