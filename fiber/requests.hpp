// HTTP for blocking code, as Python's requests does it, on libcurl.
//
//   auto response = fiber::requests::get("https://example.com/a.png", {.timeout = 5s});
//   response.raise_for_status();
//   file << response.content;
//
// Every function blocks its thread: inside a task of asyncio use fiber::aiohttp, or hand the call
// to a thread, `loop.run_in_executor(nullptr, requests::get, url)`.
//
// Threads: the free functions may be called from any number of threads at once, and so may those
// of one Session as long as nobody changes its public members meanwhile. A Response belongs to one
// thread at a time.
//
// Left to libcurl: HTTPS, cookies, the syntax of HTTP. Redirects lead to http and https alone; to
// another origin they take neither Authorization, Proxy-Authorization, Host nor Cookie along, nor
// `cookies`. Bodies are decompressed (gzip, deflate; br and zstd where the library was built with
// them). Proxies come from the environment (http_proxy, https_proxy, no_proxy), but never for
// addresses of this machine.
#pragma once

#include <fiber/http/arguments.hpp>
#include <fiber/http/chunks.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/http/json.hpp>
#include <fiber/requests/exceptions.hpp>

#include <chrono>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace fiber::requests {

using CaseInsensitiveDict = http::Headers;
using Params = http::Params;
using Body = http::Body;
using Json = http::Json;
using Verify = http::Verify;
using HTTPBasicAuth = http::BasicAuth;

/// timeout=: one duration for both, {connect, read}, or nothing, which waits forever.
/// `connect` limits the making of a connection, name lookup and TLS handshake included; `read` the
/// time in which the server sends nothing (not the whole download).
class Timeouts {
 public:
  Timeouts() = default;
  template <class Rep, class Period>
  Timeouts(std::chrono::duration<Rep, Period> both) : connect(both), read(both) {}
  Timeouts(std::optional<http::Seconds> connect_limit, std::optional<http::Seconds> read_limit)
      : connect(connect_limit), read(read_limit) {}

  std::optional<http::Seconds> connect;
  std::optional<http::Seconds> read;
};

/// The keyword arguments of every call, in the order of Python's signature; `json` stands beside
/// `data`, as it does in that of post().
struct Options {
  Params params = {};                ///< appended to the query
  Body data = {};                    ///< bytes as they are, or Params for a form
  Json json = {};                    ///< a nlohmann::json, unless there is `data`
  CaseInsensitiveDict headers = {};  ///< beside and over the session's
  Params cookies = {};               ///< for this request alone
  std::optional<HTTPBasicAuth> auth = {};
  Timeouts timeout = {};                     ///< ValueError unless above zero
  std::optional<bool> allow_redirects = {};  ///< yes, except for head()
  bool stream = false;                       ///< return after the head; read by iter_content()
  std::optional<Verify> verify = {};         ///< true, false or the path of a CA bundle
  /// Given, it is called with each piece of the body of a response that is ok(), as it arrives, and
  /// `content` stays empty: a download holds no more than a few hundred KiB. The body of an error
  /// goes to `content` as always. What it throws ends the transfer and leaves the call.
  std::function<void(std::string_view piece)> stream_to = {};
  /// In place of the session's.
  std::optional<std::size_t> max_body_size = {};
};

/// requests.Response. A value but for the rest of a streamed body, which copies share.
class FIBER_API Response {
 public:
  int status_code = 0;
  std::string reason;                   ///< "Not Found"
  std::string url;                      ///< after redirects
  CaseInsensitiveDict headers;          ///< repeated fields joined by ", "
  std::string content;                  ///< the body, decompressed; empty when streamed
  std::string encoding;                 ///< charset of text(); from Content-Type, "" if not known
  std::chrono::microseconds elapsed{};  ///< from sending until the head had arrived

  /// Whether the status is below 400.
  bool ok() const noexcept { return status_code < 400; }
  /// Whether this is a redirect that was not followed.
  bool is_redirect() const;
  /// `content` decoded from `encoding` to UTF-8, malformed characters as U+FFFD. Without an
  /// encoding it is taken for UTF-8 (Python guesses).
  std::string text() const;
#ifdef FIBER_HTTP_JSON
  /// `content` as a nlohmann::json (nlohmann::ordered_json: response.json<nlohmann::ordered_json>()).
  /// Without an encoding that of the bytes is guessed: UTF-8, 16 or 32. Throws JSONDecodeError.
  template <class Value = nlohmann::json>
  Value json() const {
    return http::detail::parse_json<Value>(json_text(), &refuse_json);
  }
#endif
  /// Throws HTTPError, "404 Client Error: Not Found for url: ...", unless ok().
  void raise_for_status() const;

  /// The body in pieces of chunk_size bytes, the last one shorter; 0: as they arrive. To be gone
  /// through once, and outlived by the response, when streamed. Throws as get() does.
  http::Chunks iter_content(std::size_t chunk_size);
  /// Gives up what is left of a streamed body. So does the destructor of the last copy.
  void close() noexcept { stream_.reset(); }

 private:
  friend class Session;
  class Stream;

  std::string json_text() const;
  [[noreturn]] static void refuse_json(std::string_view text);

  std::shared_ptr<Stream> stream_;
};

/// "<Response [200]>"
FIBER_API std::ostream& operator<<(std::ostream& out, const Response& response);

/// requests.Session: keeps connections and cookies between requests, and what it would say in each.
class FIBER_API Session {
 public:
  CaseInsensitiveDict headers;  ///< User-Agent and Accept, to begin with
  Params params;
  std::optional<HTTPBasicAuth> auth;
  Verify verify;
  long max_redirects = 30;
  bool trust_env = true;  ///< proxies, REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE of the environment
  /// How many bytes a body may have, after decompression; nothing for any number. One that has more
  /// is ContentDecodingError once so many have arrived. (Not in Python: there a few KiB of a
  /// malicious server become a process that is out of memory.)
  std::optional<std::size_t> max_body_size = {};

  Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  /// Sends one request and waits for its response. `method` goes out in upper case. A request is
  /// sent a second time only if a connection that was kept proves dead, and only if its method is
  /// idempotent: a POST never is.
  /// Throws, before anything is sent, MissingSchema, InvalidSchema, InvalidURL, InvalidHeader,
  /// InvalidJSONError (json: NaN, an infinity, a string that is not UTF-8), ValueError (timeout); then ConnectionError, SSLError, ProxyError, ConnectTimeout, ReadTimeout,
  /// TooManyRedirects, InvalidSchema (redirect), InvalidHeader (two lengths), ChunkedEncodingError,
  /// ContentDecodingError (also for max_body_size).
  Response request(std::string_view method, std::string_view url, Options options = {});

  Response get(std::string_view url, Options options = {});
  Response head(std::string_view url, Options options = {});
  Response post(std::string_view url, Options options = {});
  Response put(std::string_view url, Options options = {});
  Response patch(std::string_view url, Options options = {});
  Response delete_(std::string_view url, Options options = {});
  Response options(std::string_view url, Options options = {});

  /// The cookies held, as names and values.
  Params cookies() const;
  /// Closes idle connections. The session remains usable, as Python's does.
  void close() noexcept;

 private:
  friend class Response;
  struct Core;

  std::shared_ptr<Core> core_;
};

/// One request in a session of its own: requests::request("GET", url). Throws as Session::request.
FIBER_API Response request(std::string_view method, std::string_view url, Options options = {});

namespace detail {
/// An object and not a function, so that it can be handed on as it is in Python:
/// `pool.submit(requests::get, url)`.
struct Verb {
  const char* method;
  bool follows_redirects = true;
  Response operator()(std::string_view url, Options options = {}) const {
    if (!options.allow_redirects) options.allow_redirects = follows_redirects;
    return request(method, url, std::move(options));
  }
};
}  // namespace detail

/// requests::get(url, {.params = {{"q", "fiber"}}, .timeout = 5s})
inline constexpr detail::Verb get{"GET"};
inline constexpr detail::Verb head{"HEAD", false};  ///< follows no redirects unless told to
inline constexpr detail::Verb post{"POST"};
inline constexpr detail::Verb put{"PUT"};
inline constexpr detail::Verb patch{"PATCH"};
inline constexpr detail::Verb delete_{"DELETE"};
inline constexpr detail::Verb options{"OPTIONS"};

}  // namespace fiber::requests
