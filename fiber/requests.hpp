// HTTP for blocking code, with the interface of Python's requests.
//
//   auto response = fiber::requests::get("https://example.com/a.png", {.timeout = 5s});
//   response.raise_for_status();
//   file << response.content;
//
// Every function blocks its thread: inside a task of asyncio use fiber::aiohttp, or hand the call
// to a thread, `loop.run_in_executor(nullptr, requests::get, url)`.
//
// Threads: the free functions may be called from any number of threads at once, and so may the
// functions of one Session as long as no thread changes its public members meanwhile. A Response
// belongs to one thread at a time.
//
// Redirects are followed to http and https only; to another origin, Authorization,
// Proxy-Authorization, Host, Cookie and `cookies` are dropped. Bodies are decompressed (gzip,
// deflate; br and zstd where the library was built with them). Proxies come from `proxies` and the
// environment (http_proxy, https_proxy, no_proxy); the environment's are not used for addresses of
// this machine.
#pragma once

#include <fiber/http/arguments.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/http/verbs.hpp>
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
/// `connect` limits the time to make a connection, name lookup and TLS handshake included; `read`
/// limits the time in which the server sends nothing (not the whole download).
class Timeouts {
 public:
  Timeouts() = default;
  template <class Rep, class Period>
  Timeouts(std::chrono::duration<Rep, Period> both)  // NOLINT(google-explicit-constructor)
      : connect(both), read(both) {}
  Timeouts(std::optional<http::Seconds> connect_limit, std::optional<http::Seconds> read_limit)
      : connect(connect_limit), read(read_limit) {}

  std::optional<http::Seconds> connect;  ///< for connecting; nothing: no limit
  std::optional<http::Seconds> read;     ///< between two pieces of the answer; nothing: no limit
};

/// cert=: the path of a certificate with its key, or of both, in PEM: {"client.pem", "client.key"}.
class Cert {
 public:
  Cert() = default;
  // NOLINTBEGIN(google-explicit-constructor)
  Cert(std::string certificate, std::string key = {})
      : certificate_(std::move(certificate)), key_(std::move(key)) {}
  Cert(const char* certificate) : certificate_(certificate) {}
  // NOLINTEND(google-explicit-constructor)
  /// The path of the certificate; "" for none.
  const std::string& certificate() const noexcept { return certificate_; }
  /// The path of the key; "" if it is in the same file.
  const std::string& key() const noexcept { return key_; }
  explicit operator bool() const noexcept { return !certificate_.empty(); }

 private:
  std::string certificate_, key_;
};

/// The keyword arguments of every call, in the order of Python's signature; `json` follows `data`,
/// as in the signature of post().
struct Options {
  Params params = {};  ///< appended to the query
  /// Bytes as they are, Params for a form, or a source that is read while it is sent:
  /// std::ifstream, a function, a range of strings.
  Body data = {};
  Json json = {};                    ///< a nlohmann::json; ignored beside `data`
  CaseInsensitiveDict headers = {};  ///< added to the session's, or replacing them
  Params cookies = {};               ///< for this request alone
  Files files = {};                  ///< sent as multipart/form-data, with the Params of `data`
  Auth auth = {};                    ///< replaces the session's
  Timeouts timeout = {};             ///< ValueError unless above zero
  std::optional<bool> allow_redirects = {};  ///< yes, except for head()
  /// {{"https", "http://proxy:3128"}}: the keys are, in order of priority, "http://host", "http",
  /// "all://host" and "all"; "" is no proxy. Used before the session's and the environment's
  /// proxies.
  Params proxies = {};
  Hooks hooks = {};                   ///< replace the session's hooks
  bool stream = false;                ///< return after the head; read by iter_content()
  std::optional<Verify> verify = {};  ///< true, false or the path of a CA bundle
  Cert cert = {};                     ///< the client's own certificate
  /// If set, called with each piece of the body of a response that is ok(), as the piece arrives;
  /// `content` stays empty, so that a download holds no more than a few hundred KiB. The body of an
  /// error goes to `content` as usual. An exception of the function ends the transfer and leaves
  /// the call.
  std::function<void(std::string_view piece)> stream_to = {};
  /// Replaces the session's max_body_size.
  std::optional<std::size_t> max_body_size = {};
};

/// Where a cookie goes: "" is every host, ".example.com" that domain with all below it,
/// "example.com" that host alone.
struct SetCookieOptions {
  std::string domain = {};  ///< see above
  std::string path = "/";   ///< only URLs whose path is below this one get it
};

/// Keeps connections and cookies between requests, and the arguments that all requests share.
/// get(), post() and so on, from http::Verbs, call request(). The functions of a session that was
/// moved from throw ValueError. Python: requests.Session.
class FIBER_API Session : public http::Verbs<Session, Options> {
 public:
  CaseInsensitiveDict headers;  ///< has User-Agent and Accept at first; both may be erased
  Params params;                ///< appended to each query
  Auth auth;                    ///< for requests without `auth`
  Params proxies;               ///< as Options::proxies, which come first
  Hooks hooks;                  ///< called with each response, unless a request has hooks
  Verify verify;                ///< for requests without `verify`
  Cert cert;                    ///< for requests without `cert`
  long max_redirects = 30;      ///< the next redirect throws TooManyRedirects
  bool trust_env = true;  ///< use the environment: proxies, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE
  /// The most bytes that a body may have after decompression; nothing for no limit. Beyond it,
  /// ContentDecodingError is thrown. (Not in Python: there a few KiB from a malicious server can
  /// use up the memory of the process.)
  std::optional<std::size_t> max_body_size = {};

  Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  /// Sends one request and waits for its response. `method` is sent in upper case. A request is
  /// sent a second time only if a kept connection turns out to be closed and the method is
  /// idempotent (POST is not), or by the rules of mount() and HTTPDigestAuth.
  /// Throws, before anything is sent, MissingSchema, InvalidSchema, InvalidURL, InvalidHeader,
  /// InvalidProxyURL, InvalidJSONError (json: NaN, an infinity, a string that is not UTF-8),
  /// ValueError (timeout, `files` beside bytes), NotImplementedError (`files` beside a source that
  /// is read while it is sent), OSError (cert, verify); then ConnectionError, SSLError, ProxyError,
  /// ConnectTimeout, ReadTimeout, TooManyRedirects, InvalidSchema (redirect), InvalidHeader (two
  /// lengths, Retry-After), ChunkedEncodingError, ContentDecodingError (also for max_body_size),
  /// RetryError, UnrewindableBodyError, and the exceptions of hooks, `auth` and the source of
  /// `data`.
  Response request(std::string_view method, std::string_view url, Options options = {}) const;

  /// Sets the adapter, which says how often a request is tried, for URLs that begin with `prefix`,
  /// in lower or upper case; the longest prefix counts. Each URL of a redirect has its own adapter.
  void mount(std::string prefix, HTTPAdapter adapter);
  /// Returns the adapter for a URL. Throws InvalidSchema if there is none: "No connection adapters
  /// were found for 'ftp://example.com'".
  const HTTPAdapter& get_adapter(std::string_view url) const;

  /// Returns the session's cookies, as names and values.
  Params cookies() const;
  /// Sets a cookie. Throws ValueError for a name or value with characters that end it. Python:
  /// session.cookies.set(name, value, domain=, path=).
  void set_cookie(std::string name, std::string value, const SetCookieOptions& where = {}) const;
  /// Python: session.cookies.clear().
  void clear_cookies() const;
  /// Closes idle connections. The session remains usable, as in Python.
  void close();

 private:
  friend class Response;
  struct Core;

  const std::shared_ptr<Core>& core() const;
  PreparedRequest prepare(std::string_view method, std::string_view url, Options& options,
                          const Auth& asked) const;

  std::shared_ptr<Core> core_;
  std::vector<std::pair<std::string, HTTPAdapter>> adapters_;  ///< longest prefix first
};

/// Makes one request in a session of its own: requests::request("GET", url). Throws like
/// Session::request.
FIBER_API Response request(std::string_view method, std::string_view url, Options options = {});

namespace detail {
/// An object and not a function, so that it can be an argument, as in Python:
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
inline constexpr detail::Verb post{"POST"};         ///< sends `data`, `json` or `files`
inline constexpr detail::Verb put{"PUT"};           ///< as post
inline constexpr detail::Verb patch{"PATCH"};       ///< as post
inline constexpr detail::Verb delete_{"DELETE"};    ///< sends DELETE
inline constexpr detail::Verb options{"OPTIONS"};   ///< sends OPTIONS

}  // namespace fiber::requests
