#include <fiber/aiohttp/web_server.hpp>

#include <fiber/aiohttp/web_log.hpp>
#include <fiber/aiohttp/web_protocol.hpp>
#include <fiber/asyncio/timeouts.hpp>

#include <limits>
#include <utility>
#include <vector>

namespace fiber::aiohttp::web {
namespace detail {
namespace {

// Zero is no limit. Half of all numbers leaves room for sums.
std::size_t limit_of(std::size_t option) noexcept {
  return option != 0 ? option : std::numeric_limits<std::size_t>::max() / 2;
}

}  // namespace

ServerObject::ServerObject(Handler its_handler, ServerOptions its_options)
    : handler(std::move(its_handler)),
      options(std::move(its_options)),
      limits{.line = limit_of(options.max_line_size),
             .field = limit_of(options.max_field_size),
             .fields = limit_of(options.max_headers),
             .head = limit_of(options.max_head_size)} {
  if (options.access_log) log_format = compile_log_format(options.access_log_format);
  emptied.set();
}

bool ServerObject::enter(Connection& connection) {
  if (options.max_connections != 0 && count >= options.max_connections) return false;
  if (options.max_connections_per_address != 0) {
    connection.address_key = connection.remote();
    std::size_t& its = addresses[connection.address_key];
    if (its >= options.max_connections_per_address) return false;
    ++its;
  }
  connections.prepend(connection);
  ++count;
  emptied.clear();
  return true;
}

void ServerObject::leave(Connection& connection) noexcept {
  connections.remove(connection);
  if (options.max_connections_per_address != 0) {
    const auto its = addresses.find(connection.address_key);
    if (its != addresses.end() && --its->second == 0) addresses.erase(its);
  }
  if (--count == 0) emptied.set();
}

}  // namespace detail

Server::Server(Handler handler, ServerOptions options, int)
    : object_(std::make_shared<detail::ServerObject>(std::move(handler), std::move(options))) {}

void Server::serve(asyncio::StreamReader& reader, asyncio::StreamWriter& writer,
                   bool secure) const {
  const std::shared_ptr<detail::ServerObject> kept = object_;
  detail::Connection connection(*kept, reader, writer, secure);
  if (connection.enter())
    connection.run();
  else
    connection.turn_away();
}

void Server::serve(asyncio::StreamReader& reader, asyncio::StreamWriter& writer,
                   const asyncio::ssl_argument& ssl) const {
  const std::shared_ptr<detail::ServerObject> kept = object_;
  detail::Connection connection(*kept, reader, writer, true);
  // The connection counts while its handshake is awaited: peers that never send one have a limit.
  if (connection.enter() && connection.handshake(ssl))
    connection.run();
  else
    writer.close();
}

std::size_t Server::connections() const noexcept { return object_->count; }
std::size_t Server::requests_count() const noexcept { return object_->requests; }

void Server::pre_shutdown() const {
  object_->closing = true;
  for (detail::Connection& each : object_->connections) each.close_when_idle();
}

void Server::end(http::Seconds timeout) const {
  pre_shutdown();
  const auto wait = [&] {
    if (object_->count == 0) return true;
    try {
      asyncio::await(asyncio::wait_for(object_->emptied.wait(), timeout));
    } catch (const TimeoutError&) {
      return false;
    }
    return true;
  };
  if (wait()) return;
  for (detail::Connection& each : object_->connections) each.cancel();
  if (wait()) return;
  // The handlers that are left have swallowed the cancellation: nobody waits for them any longer.
  for (detail::Connection& each : object_->connections) each.abort();
}

}  // namespace fiber::aiohttp::web
