// What happens to a request on its way. Python: aiohttp.tracing.
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

/// What the functions of one TraceConfig keep between them for one request.
struct TraceContext {
  std::any trace_request_ctx = {};  ///< of the request's keyword argument
  std::any value = {};              ///< theirs
};

struct TraceRequestStartParams {
  const std::string& method;
  const std::string& url;  ///< with its parameters
  const http::Headers& headers;
};
/// Of bytes all of them, else a piece that was read. It is about to be sent.
struct TraceRequestChunkSentParams {
  const std::string& method;
  const std::string& url;
  std::string_view chunk;
};
/// What ClientResponse::read(), text() and json() have read, once.
struct TraceResponseChunkReceivedParams {
  const std::string& method;
  const std::string& url;
  std::string_view chunk;
};
struct TraceRequestEndParams {
  const std::string& method;
  const std::string& url;
  const http::Headers& headers;
  const ClientResponse& response;
};
/// Also what raise_for_status has thrown.
struct TraceRequestExceptionParams {
  const std::string& method;
  const std::string& url;
  const http::Headers& headers;
  std::exception_ptr exception;
};
/// `response` is the redirect, closed; the others are of the request that it answers.
struct TraceRequestRedirectParams {
  const std::string& method;
  const std::string& url;
  const http::Headers& headers;
  const ClientResponse& response;
};
/// The request waits for a connection, the limits of its connector being reached.
struct TraceConnectionQueuedStartParams {};
struct TraceConnectionQueuedEndParams {};

/// Functions that are called one after the other, in the task of the request (those of chunks that
/// are sent: in one of its own). They may await; what they throw is what the request throws.
template <class Params>
class TraceSignal {
 public:
  using Function = std::function<void(TraceContext&, const Params&)>;

  void append(Function function) { functions_.push_back(std::move(function)); }
  bool empty() const noexcept { return functions_.empty(); }
  void send(TraceContext& context, const Params& params) const {
    for (const Function& function : functions_) function(context, params);
  }

 private:
  std::vector<Function> functions_;
};

/// aiohttp.TraceConfig: a value, copied by the session that it is given to.
class TraceConfig {
 public:
  TraceSignal<TraceRequestStartParams> on_request_start;
  TraceSignal<TraceRequestChunkSentParams> on_request_chunk_sent;
  TraceSignal<TraceResponseChunkReceivedParams> on_response_chunk_received;
  TraceSignal<TraceRequestEndParams> on_request_end;
  TraceSignal<TraceRequestExceptionParams> on_request_exception;
  TraceSignal<TraceRequestRedirectParams> on_request_redirect;
  TraceSignal<TraceConnectionQueuedStartParams> on_connection_queued_start;
  TraceSignal<TraceConnectionQueuedEndParams> on_connection_queued_end;
};

}  // namespace fiber::aiohttp
