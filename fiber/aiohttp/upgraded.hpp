// A connection that an answer 101 has switched to another protocol: the seam between sessions, in
// fiber-http, and WebSockets, in fiber-web. Not for programs.
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

/// The arguments of one request, which add to those of the session, or replace them.
struct UpgradeRequest {
  std::string url = {};
  http::Headers headers = {};
  http::Params params = {};
  std::optional<http::BasicAuth> auth = {};
  std::string proxy = {};
  std::optional<http::BasicAuth> proxy_auth = {};
  asyncio::ssl_argument ssl = {};  ///< empty or `true`: the session's
};

/// The answer, and the connection if its status is 101.
struct Upgraded {
  int status = 0;
  std::string url = {};
  http::Headers headers = {};
  std::optional<asyncio::StreamReader> reader = {};
  std::optional<asyncio::StreamWriter> writer = {};
  /// The connection's place among those of the session, given back when this is destroyed. When the
  /// session is closed, it closes the connection.
  std::shared_ptr<void> place = {};
};

/// Sends GET, also to ws:// and wss://, and waits for the answer; throws as ClientSession::request.
FIBER_API Upgraded upgrade(const std::shared_ptr<SessionCore>& core, UpgradeRequest request);

}  // namespace fiber::aiohttp::detail
