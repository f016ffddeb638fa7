// The traces of one request.
#pragma once

#include <fiber/aiohttp/tracing.hpp>
#include <fiber/http/outgoing.hpp>

#include <any>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiber::aiohttp::detail {

class Traces {
 public:
  Traces(const std::vector<TraceConfig>& configs, const std::any& trace_request_ctx);

  void start(const std::string& method, const std::string& url, const http::Headers& headers);
  void end(const ClientResponse& response);
  void exception(std::exception_ptr exception);
  void redirect(const http::Hop& hop);
  void redirect(const std::string& method, const std::string& url, const http::Headers& headers,
                const ClientResponse& response);
  void chunk_sent(const std::string& method, const std::string& url, std::string_view chunk);
  void chunk_received(const std::string& method, const std::string& url, std::string_view chunk);
  void queued_start();
  void queued_end();

 private:
  template <class Params>
  void send(TraceSignal<Params> TraceConfig::*signal, const Params& params) {
    for (auto& [config, context] : traces_) (config.*signal).send(context, params);
  }

  std::vector<std::pair<TraceConfig, TraceContext>> traces_;
  std::string method_, url_;
  http::Headers headers_;
};

}  // namespace fiber::aiohttp::detail
