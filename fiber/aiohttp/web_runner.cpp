#include <fiber/aiohttp/web_runner.hpp>

#include <fiber/aiohttp/web_cleanup.hpp>
#include <fiber/asyncio/futures.hpp>
#include <fiber/asyncio/runners.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/exceptions.hpp>

#include <csignal>
#include <cstdio>
#include <exception>
#include <utility>

namespace fiber::aiohttp::web {

using asyncio::await;

GracefulExit::~GracefulExit() = default;

namespace detail {

struct SiteObject {
  enum class Kind : unsigned char { tcp, unix, socket };

  void start(const std::shared_ptr<SiteObject>& self);
  template <class F>
  asyncio::Server start_from_descriptor(const F& serve, asyncio::StartServerOptions tcp);
  void stop();
  bool secure() const noexcept { return static_cast<bool>(options.ssl_context); }

  std::weak_ptr<RunnerObject> owner;
  Kind kind = Kind::tcp;
  std::string host;
  int port = 0;
  std::string path;
  asyncio::detail::UniqueFd fd;
  SiteOptions options;
  asyncio::Server listening;
};

struct RunnerObject {
  void set_up() {
    if (ready) throw RuntimeError("the runner is set up already");
    if (app) {
      await(app->startup());
      const Application handler = *app;
      server.emplace(Handler([handler](Request& request) { return handler.handle(request); }),
                     options.server);
    }
    ready = true;
  }

  void clean_up() {
    if (!ready) {
      if (app && !app->frozen()) await(app->cleanup());
      return;
    }
    if (cleaning) return;  // another task does it
    struct Cleaning {
      bool& now;
      ~Cleaning() { now = false; }
    } const its_end{cleaning};
    cleaning = ending = true;
    std::vector<std::exception_ptr> errors;
    make_steps(errors);
    sites.clear();
    ready = ending = false;
    if (errors.size() == 1) std::rethrow_exception(errors.front());
    if (!errors.empty()) throw CleanupError(std::move(errors));
  }

  // May be cancelled, and called again.
  void make_steps(std::vector<std::exception_ptr>& errors) {
    for (const auto& site : sites) site->stop();
    server->pre_shutdown();
    if (app) make_step([&] { await(app->shutdown()); }, errors);
    await(server->shutdown(options.shutdown_timeout));
    if (app) make_step([&] { await(app->cleanup()); }, errors);
    for (const auto& site : sites)
      if (site->listening) await(site->listening.wait_closed());
    for (; !stopped.empty(); stopped.pop_back()) await(stopped.back().wait_closed());
  }

  std::optional<Application> app;
  std::optional<Server> server;
  RunnerOptions options;
  std::vector<std::shared_ptr<SiteObject>> sites;
  std::vector<asyncio::Server> stopped;  ///< their connections may go on
  bool ready = false;
  bool ending = false;    ///< a clean-up has begun; no site may start any more
  bool cleaning = false;  ///< a task makes its steps
};

// Makes a server of the site's descriptor. If that fails, the descriptor stays the site's, which
// closes it.
template <class F>
asyncio::Server SiteObject::start_from_descriptor(const F& serve, asyncio::StartServerOptions tcp) {
  tcp.start_serving = false;
  asyncio::Server made = await(asyncio::start_server_from(serve, fd.get(), tcp));
  static_cast<void>(fd.release());
  try {
    await(made.start_serving());
  } catch (...) {
    made.close();
    throw;
  }
  return made;
}

void SiteObject::start(const std::shared_ptr<SiteObject>& self) {
  const std::shared_ptr<RunnerObject> runner = owner.lock();
  if (!runner || !runner->ready || runner->ending)
    throw RuntimeError("Call runner.setup() before making a site");
  if (listening) throw RuntimeError("Site " + path + host + " is already registered in the runner");
  const asyncio::ssl_argument& ssl = options.ssl_context;
  if (ssl && !ssl.is_context())
    throw TypeError("ssl argument must be an SSLContext, or nothing: a server needs a certificate");
  const auto serve = [server = *runner->server, ssl](asyncio::StreamReader& reader,
                                                     asyncio::StreamWriter& writer) {
    if (ssl)
      server.serve(reader, writer, ssl);
    else
      server.serve(reader, writer, false);
  };
  constexpr std::size_t kReadLimit = 32 * 1024;  // a connection may hold twice as much
  const asyncio::StartServerOptions tcp{.limit = kReadLimit,
                                        .backlog = options.backlog,
                                        .reuse_address = options.reuse_address,
                                        .reuse_port = options.reuse_port};
  switch (kind) {
    case Kind::tcp: listening = await(asyncio::start_server(serve, host, port, tcp)); break;
    case Kind::unix:
      listening = await(asyncio::start_unix_server(
          serve, path, {.limit = kReadLimit, .backlog = options.backlog}));
      break;
    case Kind::socket: listening = start_from_descriptor(serve, tcp); break;
  }
  if (!runner->ready || runner->ending) {
    std::exchange(listening, {}).close();
    throw RuntimeError("the runner was cleaned up while the site was started");
  }
  if (kind != Kind::unix && !listening.sockets().empty()) port = listening.sockets()[0].port();
  runner->sites.push_back(self);
}

void SiteObject::stop() {
  if (!listening) return;
  listening.close();
  const std::shared_ptr<RunnerObject> runner = owner.lock();
  if (!runner || !runner->ready || runner->ending) return;  // clean_up() waits for its end
  std::erase_if(runner->sites, [this](const auto& site) { return site.get() == this; });
  runner->stopped.push_back(std::exchange(listening, {}));
}

namespace {

std::shared_ptr<SiteObject> make_site(const std::shared_ptr<RunnerObject>& runner,
                                      SiteObject::Kind kind, const SiteOptions& options) {
  auto site = std::make_shared<SiteObject>();
  site->owner = runner;
  site->kind = kind;
  site->options = options;
  return site;
}

}  // namespace
}  // namespace detail

// --- runners ------------------------------------------------------------------------------------

void BaseRunner::set_up() const { object_->set_up(); }
void BaseRunner::clean_up() const { object_->clean_up(); }

std::vector<asyncio::SocketAddress> BaseRunner::addresses() const {
  std::vector<asyncio::SocketAddress> all;
  for (const auto& site : object_->sites)
    for (const asyncio::Socket& socket : site->listening.sockets())
      all.push_back(socket.getsockname());
  return all;
}

Server BaseRunner::server() const {
  if (!object_->server) throw RuntimeError("Call setup() before server()");
  return *object_->server;
}

AppRunner::AppRunner(const Application& app, RunnerOptions options)
    : BaseRunner(std::make_shared<detail::RunnerObject>()) {
  object().app = app;
  object().options = std::move(options);
}

ServerRunner::ServerRunner(const Server& server, http::Seconds shutdown_timeout)
    : BaseRunner(std::make_shared<detail::RunnerObject>()) {
  object().server = server;
  object().options.shutdown_timeout = shutdown_timeout;
}

// --- sites --------------------------------------------------------------------------------------

void BaseSite::begin() const { object_->start(object_); }
void BaseSite::end() const { object_->stop(); }
int BaseSite::port() const { return object_->listening ? object_->port : 0; }

namespace {

std::string name_of(const detail::SiteObject& site) {
  std::string scheme = site.secure() ? "https://" : "http://";
  switch (site.kind) {
    case detail::SiteObject::Kind::tcp: {
      const std::string host = site.host.empty() ? "0.0.0.0" : site.host;
      const bool brackets = host.find(':') != std::string::npos;
      return scheme + (brackets ? "[" + host + "]" : host) + ":" + std::to_string(site.port);
    }
    case detail::SiteObject::Kind::unix: return scheme + "unix:" + site.path + ":";
    case detail::SiteObject::Kind::socket: return scheme + "sock:" + std::to_string(site.port);
  }
  return scheme;
}

}  // namespace

std::string BaseSite::name() const { return name_of(*object_); }

std::vector<std::string> BaseRunner::sites() const {
  std::vector<std::string> names;
  for (const auto& site : object_->sites) names.push_back(name_of(*site));
  return names;
}

TCPSite::TCPSite(const BaseRunner& runner, std::string host, std::optional<int> port,
                 SiteOptions options)
    : BaseSite([&] {
        auto site = detail::make_site(runner.share(), detail::SiteObject::Kind::tcp, options);
        site->host = std::move(host);
        site->port = port.value_or(site->secure() ? 8443 : 8080);
        return site;
      }()) {}

UnixSite::UnixSite(const BaseRunner& runner, std::string path, SiteOptions options)
    : BaseSite([&] {
        auto site = detail::make_site(runner.share(), detail::SiteObject::Kind::unix, options);
        site->path = std::move(path);
        return site;
      }()) {}

SockSite::SockSite(const BaseRunner& runner, int fd, SiteOptions options)
    : BaseSite([&] {
        auto site = detail::make_site(runner.share(), detail::SiteObject::Kind::socket, options);
        site->fd = asyncio::detail::UniqueFd(fd);
        return site;
      }()) {}

// --- run_app ------------------------------------------------------------------------------------

namespace {

// SIGINT and SIGTERM end run_app(): the first one in order, also while the application begins, the
// second one without waiting for requests and clean-ups.
class Signals {
 public:
  explicit Signals(bool used) : used_(used) {
    if (!used_) return;
    for (const int signal : kSignals) loop_.add_signal_handler(signal, [this] { on_signal(); });
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() {
    if (!used_) return;
    for (const int signal : kSignals) loop_.remove_signal_handler(signal);
  }

  /// Says that the application ends: there is nothing that a signal could begin.
  void ending() noexcept { ending_ = true; }
  bool received() const noexcept { return received_; }

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM};

  void on_signal() {
    if (std::exchange(ending_, true)) throw GracefulExit();
    received_ = true;
    task_.cancel();
  }

  const asyncio::EventLoop loop_ = asyncio::get_running_loop();
  const asyncio::TaskRef task_ = asyncio::current_task();
  const bool used_;
  bool ending_ = false;
  bool received_ = false;
};

void print_sites(const AppRunner& runner, const RunAppOptions& options) {
  std::string names;
  for (const std::string& name : runner.sites()) names += (names.empty() ? "" : ", ") + name;
  const std::string text = "======== Running on " + names + " ========\n(Press CTRL+C to quit)";
  if (options.print) return options.print(text);
  std::puts(text.c_str());
  std::fflush(stdout);
}

void serve_for_ever(const Application& app, const RunAppOptions& options) {
  const AppRunner runner(app,
                         {.server = options.server, .shutdown_timeout = options.shutdown_timeout});
  Signals signals(options.handle_signals);
  struct Cleanup {
    const AppRunner& runner;
    Signals& signals;
    void enter() const noexcept {}
    bool exit(const std::exception_ptr&) const {
      signals.ending();
      await(runner.cleanup());
      return false;
    }
  };
  try {
    asyncio::with(Cleanup{runner, signals}, [&] {
      await(runner.setup());
      SiteOptions site = options.site;
      if (options.ssl_context) site.ssl_context = options.ssl_context;
      if (options.path) await(UnixSite(runner, *options.path, site).start());
      if (options.host || !options.path)
        await(TCPSite(runner, options.host.value_or(""), options.port, site).start());
      print_sites(runner, options);
      await(asyncio::get_running_loop().create_future<void>());
    });
  } catch (const asyncio::CancelledError&) {
    if (!signals.received()) throw;
  }
}

}  // namespace

void run_app(const Application& app, RunAppOptions options) {
  try {
    asyncio::run([&] { serve_for_ever(app, options); });
  } catch (const GracefulExit&) {
  } catch (const KeyboardInterrupt&) {
  }
}

}  // namespace fiber::aiohttp::web
