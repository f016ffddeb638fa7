#include <fiber/aiohttp/traces.hpp>

#include <fiber/aiohttp.hpp>

namespace fiber::aiohttp::detail {

Traces::Traces(const std::vector<TraceConfig>& configs, const std::any& trace_request_ctx) {
  for (const TraceConfig& config : configs)
    traces_.emplace_back(config, TraceContext{trace_request_ctx, {}});
}

void Traces::start(const std::string& method, const std::string& url,
                   const http::Headers& headers) {
  method_ = method;
  url_ = url;
  headers_ = headers;
  send(&TraceConfig::on_request_start, {method_, url_, headers_});
}

void Traces::end(const ClientResponse& response) {
  send(&TraceConfig::on_request_end, {method_, url_, headers_, response});
}

void Traces::exception(std::exception_ptr exception) {
  send(&TraceConfig::on_request_exception, {method_, url_, headers_, std::move(exception)});
}

void Traces::redirect(const http::Hop& hop) {
  const ClientResponse response(hop);
  redirect(hop.method, hop.head.url, hop.request_headers, response);
}

void Traces::redirect(const std::string& method, const std::string& url,
                      const http::Headers& headers, const ClientResponse& response) {
  send(&TraceConfig::on_request_redirect, {method, url, headers, response});
}

void Traces::chunk_sent(const std::string& method, const std::string& url, std::string_view chunk) {
  send(&TraceConfig::on_request_chunk_sent, {method, url, chunk});
}

void Traces::chunk_received(const std::string& method, const std::string& url,
                            std::string_view chunk) {
  send(&TraceConfig::on_response_chunk_received, {method, url, chunk});
}

void Traces::queued_start() { send(&TraceConfig::on_connection_queued_start, {}); }
void Traces::queued_end() { send(&TraceConfig::on_connection_queued_end, {}); }

}  // namespace fiber::aiohttp::detail
