// Functions between a session and its requests. Python: aiohttp.client_middlewares (3.12).
//
//   const auto with_token = [](aiohttp::ClientRequest& request,
//                              const aiohttp::ClientHandler& handler) {
//     request.headers.set("Authorization", "Bearer " + token);
//     aiohttp::ClientResponse response = handler(request);
//     if (response.status != 401) return response;
//     token = new_token();                     // it may await
//     request.headers.set("Authorization", "Bearer " + token);
//     return handler(request);
//   };
//   aiohttp::ClientSession session({.middlewares = {with_token}});
#pragma once

#include <fiber/http/arguments.hpp>
#include <fiber/http/headers.hpp>

#include <functional>
#include <string>
#include <vector>

namespace fiber::aiohttp {

class ClientResponse;

/// A request that is about to be sent, also by a redirect. A middleware may change it.
struct ClientRequest {
  std::string method = {};     ///< "GET"
  std::string url = {};        ///< with its parameters
  http::Headers headers = {};  ///< those of the session included
  http::Body body = {};        ///< what is sent after the head
};

/// Sends the request through the middlewares after the calling one, and waits for the response. May
/// be called several times while the calling middleware runs, and not later.
using ClientHandler = std::function<ClientResponse(ClientRequest&)>;
/// The first of several is the outermost.
using ClientMiddleware = std::function<ClientResponse(ClientRequest&, const ClientHandler&)>;
/// The middlewares of a request, the outermost first.
using ClientMiddlewares = std::vector<ClientMiddleware>;

}  // namespace fiber::aiohttp
