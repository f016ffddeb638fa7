#include <fiber/aiohttp/web_server.hpp>

#include <fiber/aiohttp/web_protocol.hpp>
#include <fiber/asyncio/timeouts.hpp>

#include <vector>

namespace fiber::aiohttp::web {

Server::Server(Handler handler, ServerOptions options, int)
    : object_(std::make_shared<detail::ServerObject>(std::move(handler), std::move(options))) {}

void Server::serve(asyncio::StreamReader& reader, asyncio::StreamWriter& writer,
                   bool secure) const {
  const std::shared_ptr<detail::ServerObject> kept = object_;
  detail::Connection(*kept, reader, writer, secure).run();
}

std::size_t Server::connections() const noexcept { return object_->count; }
std::size_t Server::requests_count() const noexcept { return object_->requests; }

void Server::pre_shutdown() const {
  object_->closing = true;
  for (detail::Connection* one = object_->first; one != nullptr; one = one->next_in_list)
    one->close_when_idle();
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
  for (detail::Connection* one = object_->first; one != nullptr; one = one->next_in_list)
    one->cancel();
  wait();
}

}  // namespace fiber::aiohttp::web
