// Functions that observe the steps of a request. Python: aiohttp.tracing.
//
//   aiohttp::TraceConfig trace;
//   trace.on_request_start.append(
//       [](aiohttp::TraceContext& context, const aiohttp::TraceRequestStartParams& params) {
//         context.value = std::chrono::steady_clock::now();
//         std::cout << params.method << " " << params.url << "\n";
//       });
//   aiohttp::ClientSession session({.trace_configs = {trace}});
#pragma once

#include <fiber/http/headers.hpp>

#include <any>
#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiber::aiohttp {

class ClientResponse;

/// The state that the functions of one TraceConfig share for one request.
struct TraceContext {
  std::any trace_request_ctx = {};  ///< the request's keyword argument
  std::any value = {};              ///< for the functions' own use
};

/// A request is about to be sent; its redirects have a signal of their own.
struct TraceRequestStartParams {
  const std::string& method;     ///< "GET"
  const std::string& url;        ///< with its parameters
  const http::Headers& headers;  ///< of the request
};
/// `chunk` is about to be sent: the whole body if it is bytes, else a piece read from the source.
struct TraceRequestChunkSentParams {
  const std::string& method;  ///< of the request
  const std::string& url;     ///< with its parameters
  std::string_view chunk;     ///< lives as long as the call
};
/// `chunk` is the body that ClientResponse::read(), text() or json() has read; sent once.
struct TraceResponseChunkReceivedParams {
  const std::string& method;  ///< of the request
  const std::string& url;     ///< with its parameters
  std::string_view chunk;     ///< lives as long as the call
};
/// The head of the response has arrived.
struct TraceRequestEndParams {
  const std::string& method;       ///< of the request
  const std::string& url;          ///< with its parameters
  const http::Headers& headers;    ///< of the request
  const ClientResponse& response;  ///< its body may still be on the way
};
/// `exception` may also be the one of raise_for_status.
struct TraceRequestExceptionParams {
  const std::string& method;     ///< of the request
  const std::string& url;        ///< with its parameters
  const http::Headers& headers;  ///< of the request
  std::exception_ptr exception;  ///< the one that the caller gets
};
/// `response` is the redirect, closed; the other members describe the request that was redirected.
struct TraceRequestRedirectParams {
  const std::string& method;       ///< of the request
  const std::string& url;          ///< with its parameters
  const http::Headers& headers;    ///< of the request
  const ClientResponse& response;  ///< its status and headers
};
/// The request waits for a connection: a limit of its connector is reached.
struct TraceConnectionQueuedStartParams {};
struct TraceConnectionQueuedEndParams {};

/// Functions that are called one after the other, in the task of the request (for sent chunks, in
/// the task of the upload). They may await; the request throws their exceptions.
template <class Params>
class TraceSignal {
 public:
  /// Takes the state of the request, and what happened.
  using Function = std::function<void(TraceContext&, const Params&)>;

  /// Adds a function behind the others.
  void append(Function function) { functions_.push_back(std::move(function)); }
  bool empty() const noexcept { return functions_.empty(); }  ///< true without functions
  /// Calls the functions, in their order.
  void send(TraceContext& context, const Params& params) const {
    for (const Function& function : functions_) function(context, params);
  }

 private:
  std::vector<Function> functions_;
};

/// A value; a session makes a copy. Python: aiohttp.TraceConfig.
class TraceConfig {
 public:
  TraceSignal<TraceRequestStartParams> on_request_start;           ///< before a request is sent
  TraceSignal<TraceRequestChunkSentParams> on_request_chunk_sent;  ///< for each piece of a body
  /// After a body was read as a whole.
  TraceSignal<TraceResponseChunkReceivedParams> on_response_chunk_received;
  TraceSignal<TraceRequestEndParams> on_request_end;              ///< when a head has arrived
  TraceSignal<TraceRequestExceptionParams> on_request_exception;  ///< instead of on_request_end
  TraceSignal<TraceRequestRedirectParams> on_request_redirect;    ///< before a redirect is followed
  /// Before a wait for a connection.
  TraceSignal<TraceConnectionQueuedStartParams> on_connection_queued_start;
  TraceSignal<TraceConnectionQueuedEndParams> on_connection_queued_end;  ///< after that wait
};

}  // namespace fiber::aiohttp
