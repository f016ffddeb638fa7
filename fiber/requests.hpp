// HTTP for blocking code, as Python's requests does it.
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
// Redirects lead to http and https alone; to another origin they take neither Authorization,
// Proxy-Authorization, Host nor Cookie along, nor `cookies`. Bodies are decompressed (gzip, deflate;
// br and zstd where the library was built with them). Proxies come from `proxies` and the environment
// (http_proxy, https_proxy, no_proxy), from there never for addresses of this machine.
#pragma once

#include <fiber/http/arguments.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/requests/adapters.hpp>
#include <fiber/requests/auth.hpp>
#include <fiber/requests/exceptions.hpp>
#include <fiber/requests/files.hpp>
#include <fiber/requests/models.hpp>
#include <fiber/requests/status_codes.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiber::requests {

using Verify = http::Verify;

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

/// cert=: the path of a certificate with its key, or of both, in PEM: {"client.pem", "client.key"}.
class Cert {
 public:
  Cert() = default;
  Cert(std::string certificate, std::string key = {})
      : certificate_(std::move(certificate)), key_(std::move(key)) {}
  Cert(const char* certificate) : certificate_(certificate) {}
  const std::string& certificate() const noexcept { return certificate_; }
  const std::string& key() const noexcept { return key_; }
  explicit operator bool() const noexcept { return !certificate_.empty(); }

 private:
  std::string certificate_, key_;
};

/// The keyword arguments of every call, in the order of Python's signature; `json` stands beside
/// `data`, as it does in that of post().
struct Options {
  Params params = {};  ///< appended to the query
  /// Bytes as they are, Params for a form, or what is read while it is sent: std::ifstream, a
  /// function, a range of strings.
  Body data = {};
  Json json = {};                    ///< a nlohmann::json, unless there is `data`
  CaseInsensitiveDict headers = {};  ///< beside and over the session's
  Params cookies = {};               ///< for this request alone
  Files files = {};                  ///< sent as multipart/form-data, with the Params of `data`
  Auth auth = {};
  Timeouts timeout = {};                     ///< ValueError unless above zero
  std::optional<bool> allow_redirects = {};  ///< yes, except for head()
  /// {{"https", "http://proxy:3128"}}: the keys are "http://host", "http", "all://host" and "all",
  /// the first of which counts; "" is no proxy. They go before the session's and the environment's.
  Params proxies = {};
  Hooks hooks = {};                   ///< in place of the session's
  bool stream = false;                ///< return after the head; read by iter_content()
  std::optional<Verify> verify = {};  ///< true, false or the path of a CA bundle
  Cert cert = {};                     ///< the client's own certificate
  /// Given, it is called with each piece of the body of a response that is ok(), as it arrives, and
  /// `content` stays empty: a download holds no more than a few hundred KiB. The body of an error
  /// goes to `content` as always. What it throws ends the transfer and leaves the call.
  std::function<void(std::string_view piece)> stream_to = {};
  /// In place of the session's.
  std::optional<std::size_t> max_body_size = {};
};

/// requests.Session: keeps connections and cookies between requests, and what it would say in each.
class FIBER_API Session {
 public:
  CaseInsensitiveDict headers;  ///< User-Agent and Accept, to begin with
  Params params;
  Auth auth;
  Params proxies;
  Hooks hooks;
  Verify verify;
  Cert cert;
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
  /// idempotent: a POST never is; and as mount() and HTTPDigestAuth have it.
  /// Throws, before anything is sent, MissingSchema, InvalidSchema, InvalidURL, InvalidHeader,
  /// InvalidProxyURL, InvalidJSONError (json: NaN, an infinity, a string that is not UTF-8),
  /// ValueError (timeout, `files` beside bytes), NotImplementedError (`files` beside what is read
  /// while it is sent), OSError (cert); then ConnectionError, SSLError, ProxyError, ConnectTimeout,
  /// ReadTimeout, TooManyRedirects, InvalidSchema (redirect), InvalidHeader (two lengths,
  /// Retry-After), ChunkedEncodingError,
  /// ContentDecodingError (also for max_body_size), RetryError, UnrewindableBodyError, and whatever
  /// hooks, `auth` and the source of `data` throw.
  Response request(std::string_view method, std::string_view url, Options options = {});

  Response get(std::string_view url, Options options = {});
  Response head(std::string_view url, Options options = {});
  Response post(std::string_view url, Options options = {});
  Response put(std::string_view url, Options options = {});
  Response patch(std::string_view url, Options options = {});
  Response delete_(std::string_view url, Options options = {});
  Response options(std::string_view url, Options options = {});

  /// Requests to URLs that begin with `prefix`, in any case of its letters, are tried as often as
  /// the adapter says; the longest prefix counts. Of a redirect each URL has its own adapter.
  void mount(std::string prefix, HTTPAdapter adapter);
  /// The adapter for a URL. Throws InvalidSchema if there is none: "No connection adapters were
  /// found for 'ftp://example.com'".
  const HTTPAdapter& get_adapter(std::string_view url) const;

  /// The cookies held, as names and values.
  Params cookies() const;
  /// Closes idle connections. The session remains usable, as Python's does.
  void close() noexcept;

 private:
  friend class Response;
  struct Core;

  PreparedRequest prepare(std::string_view method, std::string_view url, Options& options) const;

  std::shared_ptr<Core> core_;
  std::vector<std::pair<std::string, HTTPAdapter>> adapters_;  ///< longest prefix first
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
