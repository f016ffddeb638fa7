// Applications: routes, middlewares, shared state, and functions for the beginning and the end.
// Python: aiohttp.web_app, aiohttp.web_middlewares.
//
//   web::Application app;
//   app.router().add_get("/users/{id}", [](web::Request& request) {
//     return web::Response({.text = "user " + request.match_info()["id"]});
//   });
//   web::run_app(app);
#pragma once

#include <fiber/aiohttp/web_server.hpp>
#include <fiber/aiohttp/web_urldispatcher.hpp>
#include <fiber/generator.hpp>

#include <any>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace fiber::aiohttp::web {

class Application;

namespace detail {
struct ApplicationObject;
[[noreturn]] FIBER_API void refuse_frozen();
}  // namespace detail

/// A function around handlers: it may inspect the request, call the handler or not, and change, or
/// replace, the response. Python: aiohttp.web.middleware.
using Middleware = std::function<StreamResponse(Request&, const Handler&)>;

/// Adds, removes and merges slashes until a route matches, and redirects to that path (308).
/// `remove_slash` and `append_slash` exclude each other. Python:
/// aiohttp.web.normalize_path_middleware.
struct NormalizePathOptions {
  bool append_slash = true;   ///< as a last attempt
  bool remove_slash = false;  ///< instead of append_slash
  bool merge_slashes = true;  ///< "//" becomes "/"
};
/// Returns the middleware. Throws ValueError for both options.
FIBER_API Middleware normalize_path_middleware(NormalizePathOptions options = {});

/// Functions that are called in the order in which they were appended; they may wait. on_startup()
/// and on_cleanup() of an application begin with the contexts of cleanup_ctx(); add_subapp()
/// appends to them, and to on_shutdown(), a function that sends the signal of the sub application.
/// While a signal is sent, its functions may append others, until the application is frozen;
/// on_startup() is frozen before it is sent.
/// Python: aiosignal.Signal.
template <class... Arguments>
class Signal {
 public:
  using receiver = std::function<void(Arguments...)>;  ///< what append() makes of a function
  /// Appends a function; a coroutine that it returns is awaited. Throws RuntimeError once frozen.
  template <class F>
    requires std::invocable<std::decay_t<F>&, Arguments...>
  void append(F&& function) {
    using Result = std::invoke_result_t<std::decay_t<F>&, Arguments...>;
    if (frozen_) detail::refuse_frozen();
    if constexpr (asyncio::has_await<Result>)
      receivers_.push_back(std::make_shared<const receiver>(
          [function = std::decay_t<F>(std::forward<F>(function))](Arguments... arguments) mutable {
            static_cast<void>(asyncio::await(function(arguments...)));
          }));
    else
      receivers_.push_back(std::make_shared<const receiver>(std::forward<F>(function)));
  }
  /// Calls all functions, in their order.
  void send(Arguments... arguments) const {
    send_by([&](const receiver& function) { function(arguments...); });
  }
  /// Passes each function to `call`, which calls it.
  template <class Call>
  void send_by(Call call) const {
    for (std::size_t i = 0; i < receivers_.size(); ++i) {
      // Appending moves the others, which may be running.
      const std::shared_ptr<const receiver> function = receivers_[i];
      call(*function);
    }
  }
  void freeze() noexcept { frozen_ = true; }                       ///< append() throws from now on
  bool frozen() const noexcept { return frozen_; }                 ///< true after freeze()
  bool empty() const noexcept { return receivers_.empty(); }       ///< true without functions
  std::size_t size() const noexcept { return receivers_.size(); }  ///< the number of functions

 private:
  std::vector<std::shared_ptr<const receiver>> receivers_;
  bool frozen_ = false;
};

/// Several clean-ups have failed. The first exception is nested; all are in exceptions().
/// Python: aiohttp.web.CleanupError.
class FIBER_API CleanupError : public RuntimeError {
 public:
  explicit CleanupError(std::vector<std::exception_ptr> exceptions);
  ~CleanupError() override;
  /// In the order in which they were thrown.
  const std::vector<std::exception_ptr>& exceptions() const noexcept { return *exceptions_; }

 private:
  std::shared_ptr<const std::vector<std::exception_ptr>> exceptions_;
};

/// The type of app.cleanup_ctx(): generators that run up to their yield when the application
/// begins, and to their end when the application ends, in reverse order.
class FIBER_API CleanupContext {
 public:
  /// function(application) returns a generator, which yields once. Throws RuntimeError once frozen.
  ///
  ///   app.cleanup_ctx().append([](web::Application& app) -> fiber::Generator<int> {
  ///     return [app](auto& self) { auto db = connect(); self.yield(0); db.close(); };
  ///   });
  template <class F>
    requires std::invocable<std::decay_t<F>&, Application&>
  void append(F&& function) {
    if (frozen_) detail::refuse_frozen();
    auto enter = [function = std::decay_t<F>(std::forward<F>(function))](
                     Application& app) mutable -> std::function<void()> {
      auto generator = function(app);
      try {
        static_cast<void>(generator.next());
      } catch (const StopIteration&) {
        throw RuntimeError("a generator of cleanup_ctx has ended without a 'yield'");
      }
      return [generator]() mutable {
        try {
          static_cast<void>(generator.next());
        } catch (const StopIteration&) {
          return;
        }
        throw RuntimeError("a generator of cleanup_ctx has more than one 'yield'");
      };
    };
    entries_.push_back(std::make_shared<const entry>(std::move(enter)));
  }
  void freeze() noexcept { frozen_ = true; }        ///< append() throws from now on
  bool frozen() const noexcept { return frozen_; }  ///< true after freeze()

 private:
  friend struct detail::ApplicationObject;
  using entry = std::function<std::function<void()>(Application&)>;
  std::vector<std::shared_ptr<const entry>> entries_;
  bool frozen_ = false;
};

/// A typed key for the state of an application: app[key] is a T&. Python: aiohttp.web.AppKey.
template <class T>
struct AppKey {
  std::string name;  ///< of the value, in app["name"] too
};

/// Keyword arguments of Application.
struct ApplicationOptions {
  std::vector<Middleware> middlewares = {};   ///< the outermost first
  std::size_t client_max_size = 1024 * 1024;  ///< bytes that read(), text(), json(), post() accept
};

/// A counted reference. Belongs to one loop and its thread. Python: aiohttp.web.Application.
class FIBER_API Application {
 public:
  explicit Application(ApplicationOptions options = {});
  Application(const Application&) noexcept = default;  ///< moving is copying: never empty
  Application& operator=(const Application&) noexcept = default;

  UrlDispatcher& router() const noexcept;  ///< the routes
  /// Adds the routes that get(), post() and others have made.
  void add_routes(const std::vector<RouteDef>& routes) const { router().add_routes(routes); }
  /// Adds an application below a prefix ("/admin"); it answers all paths there. Throws ValueError
  /// for the prefixes "" and "/", RuntimeError if one of the two applications runs.
  Resource add_subapp(std::string_view prefix, const Application& subapp) const;
  /// The middlewares, the outermost first. Changes have no effect once the application runs.
  std::vector<Middleware>& middlewares() const noexcept;

  /// Sent when the application begins: functions may still add routes, and functions of the other
  /// signals.
  Signal<Application&>& on_startup() const noexcept;
  Signal<Application&>& on_shutdown() const noexcept;  ///< before connections are closed
  Signal<Application&>& on_cleanup() const noexcept;   ///< after connections are closed
  /// Sent before the head of a response, which may still be changed.
  Signal<Request&, StreamResponse&>& on_response_prepare() const noexcept;
  CleanupContext& cleanup_ctx() const noexcept;  ///< generators around the application's life

  /// The state that handlers share: app["name"] has any type, app[AppKey<T>] has the type T.
  std::any& operator[](std::string_view key) const;
  bool contains(std::string_view key) const noexcept;  ///< whether operator[] has made a value
  template <class T>
  T& operator[](const AppKey<T>& key) const {
    std::any& found = (*this)[key.name];
    if (!found.has_value()) found = T();
    return std::any_cast<T&>(found);
  }

  /// Begins the application, as runners do. To be awaited, like the next two. After a startup()
  /// that has failed, cleanup() leaves the contexts that were entered, and does no more. All
  /// functions of on_cleanup() are called, whatever they throw.
  auto startup() const {
    return asyncio::detail::Deferred([self = *this] { self.start(); });
  }
  /// Sends on_shutdown().
  auto shutdown() const {
    return asyncio::detail::Deferred([self = *this] { self.shut_down(); });
  }
  /// Sends on_cleanup().
  auto cleanup() const {
    return asyncio::detail::Deferred([self = *this] { self.clean_up(); });
  }
  bool frozen() const noexcept;  ///< true after freeze()
  /// Forbids further routes, functions of signals and contexts.
  void freeze() const;
  /// Finds the route and calls its handler: the handler for a Server.
  StreamResponse handle(Request& request) const;
  /// Whether the outermost application has a route for the method and path.
  bool matches(std::string_view method, std::string_view raw_path) const;

  friend bool operator==(const Application& a, const Application& b) noexcept = default;
  explicit Application(std::shared_ptr<detail::ApplicationObject> object) noexcept
      : object_(std::move(object)) {}

 private:
  friend struct detail::ApplicationObject;
  void start() const;
  void shut_down() const;
  void clean_up() const;
  std::shared_ptr<detail::ApplicationObject> object_;
};

}  // namespace fiber::aiohttp::web
