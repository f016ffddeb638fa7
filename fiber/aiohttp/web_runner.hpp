// Applications and servers at addresses. Python: aiohttp.web_runner, aiohttp.web.run_app.
//
//   web::AppRunner runner(app);
//   await(runner.setup());
//   web::TCPSite site(runner, "localhost", 8080);
//   await(site.start());
//   ...
//   await(runner.cleanup());
#pragma once

#include <fiber/aiohttp/web_app.hpp>
#include <fiber/aiohttp/web_server.hpp>
#include <fiber/asyncio/streams.hpp>
#include <fiber/asyncio/transport_layer.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fiber::aiohttp::web {

namespace detail {
struct RunnerObject;
struct SiteObject;
}  // namespace detail

/// Leaves the loop of run_app() after SIGINT or SIGTERM. Python: aiohttp.web.GracefulExit.
class FIBER_API GracefulExit : public SystemExit {
 public:
  GracefulExit() : SystemExit(1) {}
  ~GracefulExit() override;
};

/// Runs an application or server for its sites. A counted reference. Python:
/// aiohttp.web.BaseRunner.
class FIBER_API BaseRunner {
 public:
  BaseRunner(const BaseRunner&) noexcept = default;  ///< moving is copying: never empty
  BaseRunner& operator=(const BaseRunner&) noexcept = default;
  /// Begins the application: on_startup, cleanup_ctx. To be awaited, like cleanup().
  auto setup() const {
    return asyncio::detail::Deferred([self = *this] { self.set_up(); });
  }
  /// In this order: stops listening; closes idle connections; on_shutdown; lets requests finish for
  /// shutdown_timeout; cancels the others; on_cleanup and the generators of cleanup_ctx. If it is
  /// cancelled, call it again: all of this is done once more, but no generator goes on twice.
  auto cleanup() const {
    return asyncio::detail::Deferred([self = *this] { self.clean_up(); });
  }
  /// Returns the addresses at which the sites listen.
  std::vector<asyncio::SocketAddress> addresses() const;
  /// Returns the names of the sites: "http://127.0.0.1:8080".
  std::vector<std::string> sites() const;
  /// Throws RuntimeError before setup().
  Server server() const;

  detail::RunnerObject& object() const noexcept { return *object_; }
  /// For the layers above.
  const std::shared_ptr<detail::RunnerObject>& share() const noexcept { return object_; }

 protected:
  explicit BaseRunner(std::shared_ptr<detail::RunnerObject> object) : object_(std::move(object)) {}

 private:
  void set_up() const;
  void clean_up() const;
  std::shared_ptr<detail::RunnerObject> object_;
};

/// Keyword arguments of AppRunner: the server's, and how long cleanup() waits for requests.
/// client_max_size comes from the application.
struct RunnerOptions {
  ServerOptions server = {};                                  ///< of its connections
  http::Seconds shutdown_timeout = std::chrono::seconds(60);  ///< zero: no wait
};

/// Runs an application. Python: aiohttp.web.AppRunner.
class FIBER_API AppRunner : public BaseRunner {
 public:
  explicit AppRunner(const Application& app, RunnerOptions options = {});
};
/// Runs a server without an application.
class FIBER_API ServerRunner : public BaseRunner {
 public:
  explicit ServerRunner(const Server& server,
                        http::Seconds shutdown_timeout = std::chrono::seconds(60));
};

/// A place where a runner listens. A counted reference. Python: aiohttp.web.BaseSite.
class FIBER_API BaseSite {
 public:
  BaseSite(const BaseSite&) noexcept = default;  ///< moving is copying: never empty
  BaseSite& operator=(const BaseSite&) noexcept = default;
  /// Starts listening; to be awaited. Throws RuntimeError before the runner's setup(), OSError if
  /// the address is not available.
  auto start() const {
    return asyncio::detail::Deferred([self = *this] { self.begin(); });
  }
  /// Stops listening; connections go on. To be awaited.
  auto stop() const {
    return asyncio::detail::Deferred([self = *this] { self.end(); });
  }
  /// Returns "http://localhost:8080" or "http://unix:/path:".
  std::string name() const;
  /// Returns the port, also one that the system chose; 0 for a Unix socket, and before start().
  int port() const;

 protected:
  explicit BaseSite(std::shared_ptr<detail::SiteObject> object) : object_(std::move(object)) {}

 private:
  void begin() const;
  void end() const;
  std::shared_ptr<detail::SiteObject> object_;
};

/// Keyword arguments of sites.
struct SiteOptions {
  /// An ssl::SSLContext that has a certificate, of <fiber/ssl.hpp>: the site is https. `true` is a
  /// TypeError of start().
  asyncio::ssl_argument ssl_context = {};
  int backlog = 128;          ///< connections that wait to be accepted
  bool reuse_address = true;  ///< SO_REUSEADDR
  bool reuse_port = false;    ///< SO_REUSEPORT: several processes share the port
};

/// Listens at a host ("": all interfaces) and a port (0: chosen by the system; default: 8080, or
/// 8443 with TLS). Python: aiohttp.web.TCPSite.
class FIBER_API TCPSite : public BaseSite {
 public:
  explicit TCPSite(const BaseRunner& runner, std::string host = {}, std::optional<int> port = {},
                   SiteOptions options = {});
};
/// Listens at a Unix socket. Python: aiohttp.web.UnixSite.
class FIBER_API UnixSite : public BaseSite {
 public:
  UnixSite(const BaseRunner& runner, std::string path, SiteOptions options = {});
};
/// Listens at a bound socket; takes over the descriptor. Python: aiohttp.web.SockSite.
class FIBER_API SockSite : public BaseSite {
 public:
  SockSite(const BaseRunner& runner, int fd, SiteOptions options = {});
};

/// Keyword arguments of run_app. Without host and path, the server listens at all interfaces.
struct RunAppOptions {
  std::optional<std::string> host = {};  ///< "": all interfaces
  std::optional<int> port = {};          ///< default: 8080, or 8443 with TLS
  std::optional<std::string> path = {};  ///< path of a Unix socket
  /// How long to wait for requests at the end.
  http::Seconds shutdown_timeout = std::chrono::seconds(60);
  asyncio::ssl_argument ssl_context = {};  ///< replaces the one of `site`
  /// Gets the line with the server's address; empty: stdout.
  std::function<void(std::string_view)> print = {};
  SiteOptions site = {};      ///< of each address
  ServerOptions server = {};  ///< of its connections
  /// SIGINT and SIGTERM end the server in order, also while the application begins; the second one
  /// ends it without waiting for requests and clean-ups.
  bool handle_signals = true;
};

/// Runs an application in a loop of its own until SIGINT or SIGTERM arrives, or the application
/// throws KeyboardInterrupt or SystemExit (GracefulExit). Throws the exceptions of its startup.
FIBER_API void run_app(const Application& app, RunAppOptions options = {});

}  // namespace fiber::aiohttp::web
