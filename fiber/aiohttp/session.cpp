#include <fiber/aiohttp/exchange.hpp>
#include <fiber/aiohttp/times.hpp>
#include <fiber/core/block_pool.hpp>
#include <fiber/http/redirect.hpp>
#include <fiber/http/text.hpp>
#include <fiber/http/url.hpp>
#include <fiber/ssl/extra_info.hpp>

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

namespace fiber::aiohttp::detail {
namespace {

// Returns the rest of a limit whose time began at `begin`.
std::optional<http::Seconds> left_of(const std::optional<http::Seconds>& limit,
                                     http::Transfer::Clock::time_point begin) {
  if (!limits(limit)) return limit;
  const http::Seconds left = *limit - (http::Transfer::Clock::now() - begin);
  if (left.count() <= 0) throw TimeoutError();
  return left;
}

// Cookies of the program's own go to every host.
void add_to(http::CookieStore& store, const Params& cookies) {
  for (const auto& [name, value] : cookies) {
    const std::string sent = http::quote_cookie(value);
    http::check_cookie(name, sent);
    store.add({.name = name, .value = sent});
  }
}

void check_status(ClientResponse& response, const RaiseForStatus& check) {
  if (check.function())
    check.function()(response);
  else if (check.raises())
    response.raise_for_status();
}

}  // namespace

void raise(const http::Failure& failure) {
  using Kind = http::Failure::Kind;
  const auto cannot_connect = [&](const std::string& why) {
    return "Cannot connect to host " + http::origin_of(failure.url) + " [" + why + "]";
  };
  switch (failure.kind) {
    case Kind::invalid_schema:  // the words of requests, with the URL between quotes at their end
      throw InvalidURL(failure.text.substr(failure.text.find('\'')) + " is neither http nor https");
    case Kind::missing_schema:
    case Kind::invalid_proxy:
    case Kind::invalid_url: throw InvalidURL(failure.text);
    case Kind::invalid_header:
    case Kind::invalid_argument: throw ValueError(failure.text);
    case Kind::connect:
      throw ClientConnectorError(
          cannot_connect(failure.error_number ? OSError(failure.error_number, {}).what()
                                              : failure.text),
          failure.error_number);
    case Kind::resolve: throw ClientConnectorError(cannot_connect(failure.text));
    case Kind::unrewindable: throw ClientPayloadError(failure.text);
    case Kind::proxy: throw ClientProxyConnectionError(cannot_connect(failure.text));
    case Kind::tls: throw ClientSSLError(cannot_connect(failure.text));
    case Kind::connect_timeout:
      throw ServerTimeoutError("Connection timeout to host " + failure.url);
    case Kind::disconnected: throw ServerDisconnectedError();
    case Kind::bad_response:
    case Kind::bad_header: throw ClientResponseError(400, failure.text, failure.url);
    case Kind::payload:
      throw ClientPayloadError("Response payload is not completed: " + failure.text);
    case Kind::too_large: throw ClientPayloadError(failure.text);
    case Kind::encoding: throw ClientPayloadError("Can not decode the body: " + failure.text);
    case Kind::too_many_redirects: throw TooManyRedirects(0, "", failure.url);
    case Kind::memory: break;
  }
  throw std::bad_alloc();
}

bool limits(const std::optional<http::Seconds>& timeout) { return timeout && timeout->count() > 0; }

SessionCore::SessionCore(SessionOptions options)
    : options_(std::move(options)),
      jar_(options_.cookie_jar.value_or(CookieJar())),
      limiter_(options_.connector.limit, options_.connector.limit_per_host) {
  if (options_.read_bufsize == 0)
    throw ValueError("read_bufsize must be a positive number of bytes");
  add_to(jar_.state_->store(), options_.cookies);
  if (options_.base_url.empty()) return;
  try {
    options_.base_url = http::prepare_url(options_.base_url, {});
  } catch (const http::Failure&) {
    throw ValueError("Only absolute URLs are supported");
  }
  if (!options_.base_url.ends_with('/')) throw ValueError("base_url must have a trailing '/'");
}

Params SessionCore::cookies() const { return jar_.state_->shared->cookies().names_and_values(); }

// Prepares a URL; joins a relative one to base_url.
std::string SessionCore::build_url(const std::string& url, const Params& params) const {
  const auto mark = http::find_any(url, ":/?#");
  const bool absolute = (mark != url.npos && url[mark] == ':') || url.starts_with("//");
  if (absolute || options_.base_url.empty()) return http::prepare_url(url, params);
  return http::prepare_url(http::resolve_url(options_.base_url, url), params);
}

// Returns the session's credentials, unless the URL has its own, or is of another origin than
// base_url, which the credentials are for.
std::optional<BasicAuth> SessionCore::auth_for(const std::string& url) const {
  if (!options_.auth) return std::nullopt;
  if (!options_.base_url.empty() && !http::same_origin(options_.base_url, url)) return std::nullopt;
  std::string bare = url;
  return http::take_credentials(bare) ? std::nullopt : options_.auth;
}

Engine& SessionCore::engine() {
  // The session may have been closed while a middleware or a trace waited: a new engine would never
  // be closed.
  if (closed_) throw ClientConnectionResetError("Session is closed");
  const asyncio::EventLoop loop = asyncio::get_running_loop();
  if (!engine_) {
    engine_.emplace(loop, options_.connector);
    if (limits(options_.timeout.total)) totals_.emplace(loop, nanoseconds(*options_.timeout.total));
  }
  if (!(engine_->loop() == loop))
    throw RuntimeError("Session is attached to a different event loop");
  return *engine_;
}

ClientResponse SessionCore::request(std::string method, const std::string& url,
                                    RequestOptions&& options, bool upgrade) {
  if (closed_) throw RuntimeError("Session is closed");
  if (options.json) {
    if (options.data) throw ValueError("data and json parameters can not be used at the same time");
    if (!options.json.error().empty()) throw ValueError(options.json.error());
    options.data = Body(options.json.text(), "application/json");
  }
  const RaiseForStatus check = options.raise_for_status.value_or(options_.raise_for_status);
  try {
    if (!upgrade && !options_change_requests() && !changes_request(options))
      return answer_to(prepared_for(method, url),
                       options.timeout ? *options.timeout : options_.timeout, check);
    http::Outgoing outgoing = outgoing_of(std::move(method), url, options);
    outgoing.upgrade = upgrade;
    std::shared_ptr<Traces> traces;
    if (!options_.trace_configs.empty())
      traces = std::make_shared<Traces>(options_.trace_configs, options.trace_request_ctx);
    if (traces) traces->start(outgoing.method, outgoing.url, outgoing.headers);
    try {
      ClientResponse response = response_to(std::move(outgoing), options, traces);
      check_status(response, check);
      if (traces) traces->end(response);
      return response;
    } catch (...) {
      if (traces) traces->exception(std::current_exception());
      throw;
    }
  } catch (const http::Failure& failure) {
    raise(failure);
  }
}

// Whether requests of equal method and URL may differ.
bool SessionCore::options_change_requests() const noexcept {
  return options_.trust_env || !options_.trace_configs.empty() || !options_.middlewares.empty();
}

// Whether the request differs from one without options.
bool SessionCore::changes_request(const RequestOptions& options) const {
  static const RequestOptions none;
  return !options.params.empty() || options.data || !options.cookies.empty() ||
         !options.headers.empty() || options.auth || !options.allow_redirects.value_or(true) ||
         options.max_redirects != none.max_redirects || !options.proxy.empty() ||
         options.proxy_auth || options.ssl || options.middlewares || options.max_body_size ||
         (options.timeout && options.timeout->sock_connect != options_.timeout.sock_connect);
}

std::shared_ptr<const http::Prepared> SessionCore::prepared_for(const std::string& method,
                                                                const std::string& url) {
  if (auto found = prepared_.find(method, url)) return found;
  RequestOptions none;
  http::Outgoing outgoing = outgoing_of(method, url, none);
  engine();  // refuses before the request is looked at
  const auto prepared = http::prepare(std::move(outgoing));
  // Each response has a copy of the fields.
  CIMultiDict& fields = prepared->request.headers;
  if (auto packed = fields.packed()) fields = CIMultiDict(std::move(packed));
  prepared_.keep(method, url, prepared);
  return prepared;
}

ClientResponse SessionCore::request(std::shared_ptr<const http::Prepared> prepared) {
  if (closed_) throw RuntimeError("Session is closed");
  try {
    return answer_to(std::move(prepared), options_.timeout, options_.raise_for_status);
  } catch (const http::Failure& failure) {
    raise(failure);
  }
}

ClientResponse SessionCore::answer_to(std::shared_ptr<const http::Prepared> prepared,
                                      const ClientTimeout& timeout, const RaiseForStatus& check) {
  ClientResponse response = send(std::move(prepared), timeout, nullptr, nullptr);
  check_status(response, check);
  return response;
}

ClientResponse SessionCore::response_to(http::Outgoing&& outgoing, const RequestOptions& options,
                                        const std::shared_ptr<Traces>& traces) {
  const ClientTimeout& timeout = options.timeout ? *options.timeout : options_.timeout;
  const ClientMiddlewares& middlewares =
      options.middlewares ? *options.middlewares : options_.middlewares;
  try {
    if (middlewares.empty()) return send(std::move(outgoing), timeout, traces);
    return through_middlewares(std::move(outgoing), timeout, traces, middlewares);
  } catch (const http::Failure& failure) {
    raise(failure);
  }
}

http::Outgoing SessionCore::outgoing_of(std::string method, const std::string& url,
                                        RequestOptions& options) const {
  CIMultiDict headers = options_.headers;
  headers.update(options.headers);
  // The server need not keep a connection that nobody uses again.
  if (options_.connector.force_close && !headers.contains("Connection"))
    headers.set("Connection", "close");
  const std::string& proxy = options.proxy.empty() ? options_.proxy : options.proxy;
  const ClientTimeout& timeout = options.timeout ? *options.timeout : options_.timeout;
  const Ssl& ssl = options.ssl ? *options.ssl : options_.connector.ssl;
  std::string full_url = build_url(url, options.params);
  auto auth = options.auth ? options.auth : auth_for(full_url);
  return {
      .rules = http::Rules::aiohttp,
      .method = std::move(method),
      .url = std::move(full_url),
      .headers = std::move(headers),
      .body = std::move(options.data),
      .cookies = std::move(options.cookies),
      .auth = std::move(auth),
      .verify = ssl.verify(),
      .context = ssl.context(),
      .follow_redirects = options.allow_redirects.value_or(true),
      .max_redirects = options.max_redirects,
      .connect_timeout = limits(timeout.sock_connect) ? timeout.sock_connect : std::nullopt,
      .proxies = proxy.empty() ? Params{} : Params{{"all", proxy}},
      .proxy_auth = options.proxy_auth ? options.proxy_auth : options_.proxy_auth,
      .trust_env = options_.trust_env,
      .max_body_size = options.max_body_size ? *options.max_body_size
                                             : options_.max_body_size.value_or(http::unlimited),
  };
}

// Sends the request, and waits for the head of the answer.
ClientResponse SessionCore::send(http::Outgoing&& outgoing, const ClientTimeout& timeout,
                                 const std::shared_ptr<Traces>& traces) {
  std::shared_ptr<Upload> upload;
  if (outgoing.body.source()) {
    upload = std::make_shared<Upload>(outgoing.body.source());
    const std::string& type = outgoing.body.content_type();
    outgoing.body = Body(upload, type.empty() ? "application/octet-stream" : type);
  }
  engine();  // refuses before the request is looked at
  return send(http::prepare(std::move(outgoing)), timeout, std::move(upload), traces);
}

ClientResponse SessionCore::send(std::shared_ptr<const http::Prepared> prepared,
                                 const ClientTimeout& timeout, std::shared_ptr<Upload> upload,
                                 std::shared_ptr<Traces> traces) {
  auto exchange = std::allocate_shared<Exchange>(core::BlockAllocator<Exchange>(),
                                                 shared_from_this(), std::move(prepared), timeout,
                                                 std::move(upload), std::move(traces));
  exchange->open();
  return ClientResponse(std::move(exchange));
}

// Redirects are followed here, so that each request goes through the middlewares.
ClientResponse SessionCore::through_middlewares(http::Outgoing outgoing,
                                                const ClientTimeout& timeout,
                                                const std::shared_ptr<Traces>& traces,
                                                const ClientMiddlewares& middlewares) {
  const auto begin = http::Transfer::Clock::now();
  http::make_ready(outgoing);
  const std::string first_url = outgoing.url;
  // A handler refers to this call's variables: a middleware that has kept its handler must not call
  // it later.
  const auto over = std::make_shared<bool>(false);
  struct End {
    bool& over;
    ~End() { over = true; }
  } const end{*over};
  const auto check_time = [over] {
    if (*over) throw RuntimeError("a ClientHandler was called after its request had ended");
  };
  ClientHandler handler = [&, check_time](ClientRequest& request) {
    check_time();
    http::Outgoing hop = outgoing;
    hop.method = request.method;
    hop.headers = request.headers;
    hop.body = request.body;
    hop.follow_redirects = false;
    ClientTimeout left = timeout;
    left.total = left_of(timeout.total, begin);
    try {
      hop.url = http::prepare_url(request.url, {});
      return send(std::move(hop), left, traces);
    } catch (const http::Failure& failure) {
      raise(failure);
    }
  };
  for (auto middleware = middlewares.rbegin(); middleware != middlewares.rend(); ++middleware)
    handler = [&middleware = *middleware, next = std::move(handler),
               check_time](ClientRequest& request) {
      check_time();
      return middleware(request, next);
    };

  std::vector<ClientResponse> history;
  for (;;) {
    ClientRequest request{outgoing.method, outgoing.url, outgoing.headers, outgoing.body};
    ClientResponse response = handler(request);
    const http::ResponseHead head{response.status, response.reason, response.url, response.headers};
    if (!http::is_followed(outgoing, head)) {
      response.history = std::move(history);
      return response;
    }
    response.give_up_body();
    if (traces) traces->redirect(outgoing.method, outgoing.url, outgoing.headers, response);
    history.push_back(std::move(response));
    if (outgoing.max_redirects != 0 && std::ssize(history) >= outgoing.max_redirects)
      throw TooManyRedirects(0, "", first_url);
    http::follow(outgoing, head);
  }
}

Upgraded SessionCore::upgrade(UpgradeRequest request) {
  // ws://host/ is http://host/, and wss:// https://.
  const std::string begin = http::lower(request.url.substr(0, request.url.find(':') + 1));
  if (begin == "ws:" || begin == "wss:") request.url.replace(0, 2, "http");
  RequestOptions options{.params = std::move(request.params),
                         .headers = std::move(request.headers),
                         .auth = std::move(request.auth),
                         .proxy = std::move(request.proxy),
                         .proxy_auth = std::move(request.proxy_auth)};
  if (request.ssl.is_context()) {
    const auto context = ssl::detail::context_of(request.ssl);
    if (!context) throw TypeError("ssl must be an ssl::SSLContext");
    options.ssl = Ssl(*context);
  }
  const ClientResponse response =
      this->request("GET", request.url, std::move(options), /*upgrade=*/true);
  Upgraded answer{.status = response.status, .url = response.url, .headers = response.headers};
  constexpr int kSwitching = 101;
  if (answer.status != kSwitching) return answer;
  const std::shared_ptr<Exchange>& exchange = response.exchange_;
  auto [reader, writer] = exchange->take_connection();
  answer.reader = std::move(reader);
  answer.writer = std::move(writer);
  answer.place = std::shared_ptr<void>(nullptr, [exchange](void*) { exchange->close(); });
  return answer;
}

Upgraded upgrade(const std::shared_ptr<SessionCore>& core, UpgradeRequest request) {
  return core->upgrade(std::move(request));
}

void SessionCore::close() noexcept {
  closed_ = true;
  while (Exchange* exchange = exchanges_.pop()) exchange->end(Exchange::Why::session_closed);
  totals_.reset();
  engine_.reset();
}

}  // namespace fiber::aiohttp::detail
