// For tests of applications: a server and its client in one loop. Python: aiohttp.test_utils.
//
//   asyncio::testing::run_test([] {
//     asyncio::with(test_utils::TestClient(make_app()), [](test_utils::TestClient& client) {
//       const auto response = await(client.get("/users/1"));
//       assert(response.status == 200 && response.text() == "user 1");
//     });
//   });
#pragma once

#include <fiber/aiohttp/client_ws.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/http/arguments.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/http/verbs.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace fiber::aiohttp::test_utils {

namespace detail {
struct ClientObject;
}

/// Serves an application on this machine, at a port that the system chooses. For asyncio::with.
class FIBER_API TestServer {
 public:
  explicit TestServer(const web::Application& app, web::RunnerOptions options = {});
  explicit TestServer(const web::Server& server);
  TestServer(const TestServer&) noexcept = default;  ///< moving is copying: never empty
  TestServer& operator=(const TestServer&) noexcept = default;

  /// Starts the server. To be awaited, like close(); TestClient calls both.
  auto start_server() const {
    return asyncio::detail::Deferred([self = *this] { self.start(); });
  }
  /// Ends connections and the application.
  auto close() const {
    return asyncio::detail::Deferred([self = *this] { self.end(); });
  }
  int port() const noexcept { return *port_; }      ///< chosen by the system; 0 before the start
  std::string host() const { return "127.0.0.1"; }  ///< always the loopback
  /// Returns "http://127.0.0.1:41234/path".
  std::string make_url(std::string_view path) const;

  TestServer& enter() {
    start();
    return *this;
  }
  bool exit(const std::exception_ptr&) {
    end();
    return false;
  }

 private:
  void start() const;
  void end() const;
  web::BaseRunner runner_;
  std::shared_ptr<int> port_ = std::make_shared<int>(0);
};

/// A response with its whole body.
struct TestResponse {
  int status = 0;              ///< 404, for example
  std::string reason = {};     ///< "Not Found"
  http::Headers headers = {};  ///< repeated fields by getall()
  std::string body = {};       ///< as received
  int redirects = 0;           ///< number of redirects that were followed
  /// The body without its Content-Encoding, gzip or deflate; nothing for a body without one, and
  /// for bytes that are not of that encoding.
  std::optional<std::string> decompressed = {};

  bool ok() const noexcept { return status < 400; }  ///< below 400
  /// The body, decompressed.
  const std::string& text() const noexcept { return decompressed ? *decompressed : body; }
  const std::string& read() const noexcept { return text(); }  ///< the body, decompressed
  /// The body, decompressed, parsed by Json::parse: response.json<nlohmann::json>().
  template <class Json>
  Json json() const {
    return Json::parse(text());
  }
};

/// The body of a request: bytes as they are, or Params, which become a form. Not a std::variant
/// of the two: libstdc++ 12 destroys garbage when the copy of such a variant runs out of memory.
class FIBER_API RequestData {
 public:
  RequestData() = default;
  // NOLINTBEGIN(google-explicit-constructor)
  RequestData(std::string bytes) : bytes_(std::move(bytes)) {}
  RequestData(std::string_view bytes) : bytes_(bytes) {}
  RequestData(const char* bytes) : bytes_(bytes) {}
  RequestData(const http::Params& form);
  // NOLINTEND(google-explicit-constructor)

  const std::string& bytes() const noexcept { return bytes_; }  ///< a form is encoded
  bool is_form() const noexcept { return is_form_; }            ///< sent as x-www-form-urlencoded

 private:
  std::string bytes_;
  bool is_form_ = false;
};

/// Keyword arguments of requests: bytes, or Params for a form.
struct TestRequestOptions {
  http::Params params = {};              ///< appended to the query
  RequestData data = {};                 ///< the body
  std::optional<std::string> json = {};  ///< text, sent as application/json
  http::Headers headers = {};            ///< added to those of the client
  http::Params cookies = {};             ///< added to those of the client
  bool allow_redirects = true;           ///< false: return the redirect
};

/// Keeps connections and cookies between requests. A counted reference. For asyncio::with, which
/// starts the server, and closes client and server. get(), post() and so on, from http::Verbs, call
/// request(), with a path as the URL: as in Python, what no target may have is quoted, a fragment
/// is not sent, and a slash at the beginning may be left out.
class FIBER_API TestClient : public http::Verbs<TestClient, TestRequestOptions> {
 public:
  explicit TestClient(const TestServer& server);
  explicit TestClient(const web::Application& app, web::RunnerOptions options = {})
      : TestClient(TestServer(app, std::move(options))) {}
  TestClient(const TestClient&) noexcept = default;  ///< moving is copying: never empty
  TestClient& operator=(const TestClient&) noexcept = default;

  /// Sends a request and returns its response; to be awaited. Throws ConnectionError or a derived
  /// class if there is no answer.
  auto request(std::string_view method, std::string_view path,
               TestRequestOptions options = {}) const {
    return asyncio::detail::Deferred(
        [self = *this, method = std::string(method), path = std::string(path),
         options = std::move(options)] { return self.send(method, path, options); });
  }
  /// Opens a WebSocket at a path; await it. See aiohttp::ws_connect.
  auto ws_connect(std::string_view path, WsConnectOptions options = {}) const {
    return aiohttp::ws_connect(server().make_url(path), std::move(options));
  }
  /// Sends bytes unchanged over a new connection, and returns all bytes received until the server
  /// closes the connection. Not in Python: for malformed requests.
  auto raw(std::string bytes) const {
    return asyncio::detail::Deferred(
        [self = *this, bytes = std::move(bytes)] { return self.exchange(bytes); });
  }
  const TestServer& server() const noexcept;  ///< the one that it asks

  TestClient& enter();
  bool exit(const std::exception_ptr&);

 private:
  TestResponse send(const std::string& method, const std::string& path,
                    const TestRequestOptions& options) const;
  std::string exchange(const std::string& bytes) const;
  std::shared_ptr<detail::ClientObject> object_;
};

}  // namespace fiber::aiohttp::test_utils
