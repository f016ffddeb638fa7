// A connection that an answer has made another protocol's: the seam between a session, of fiber-http,
// and WebSockets, of fiber-web. Not for programs.
#pragma once

#include <fiber/asyncio/streams.hpp>
#include <fiber/asyncio/transport_layer.hpp>
#include <fiber/config.hpp>
#include <fiber/http/arguments.hpp>
#include <fiber/http/headers.hpp>

#include <memory>
#include <optional>
#include <string>

namespace fiber::aiohttp::detail {

class SessionCore;

/// What is asked for, beside and over what the session says in each request.
struct UpgradeRequest {
  std::string url = {};
  http::Headers headers = {};
  http::Params params = {};
  std::optional<http::BasicAuth> auth = {};
  std::string proxy = {};
  std::optional<http::BasicAuth> proxy_auth = {};
  asyncio::ssl_argument ssl = {};  ///< nothing or `true`: as the session has it
};

/// The answer, and the connection if its status is 101.
struct Upgraded {
  int status = 0;
  std::string url = {};
  http::Headers headers = {};
  std::optional<asyncio::StreamReader> reader = {};
  std::optional<asyncio::StreamWriter> writer = {};
  /// The connection's place among those of the session, which is given back with this. The session
  /// closes the connection with itself.
  std::shared_ptr<void> place = {};
};

/// Sends GET, to ws:// and wss:// too, and waits for the answer. Throws as ClientSession::request().
FIBER_API Upgraded upgrade(const std::shared_ptr<SessionCore>& core, UpgradeRequest request);

}  // namespace fiber::aiohttp::detail
