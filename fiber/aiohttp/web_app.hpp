// Applications: routes, middlewares, what they share, and what is done when they begin and end.
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
}

/// What stands around handlers: it may look at the request, call the handler or not, and change, or
/// replace, the response. aiohttp.web.middleware.
using Middleware = std::function<StreamResponse(Request&, const Handler&)>;

/// Adds, removes and merges slashes until a route is found, and redirects there (308).
/// aiohttp.web.normalize_path_middleware. `remove_slash` and `append_slash` exclude each other.
struct NormalizePathOptions {
  bool append_slash = true;
  bool remove_slash = false;
  bool merge_slashes = true;
};
FIBER_API Middleware normalize_path_middleware(NormalizePathOptions options = {});

/// Functions that are called in the order in which they were appended; they may wait.
/// aiosignal.Signal.
template <class... Arguments>
class Signal {
 public:
  using receiver = std::function<void(Arguments...)>;
  /// What returns a coroutine is awaited.
  template <class F>
    requires std::invocable<std::decay_t<F>&, Arguments...>
  void append(F&& function) {
    using Result = std::invoke_result_t<std::decay_t<F>&, Arguments...>;
    if constexpr (asyncio::has_await<Result>)
      receivers_.push_back(
          [function = std::decay_t<F>(std::forward<F>(function))](Arguments... arguments) mutable {
            static_cast<void>(asyncio::await(function(arguments...)));
          });
    else
      receivers_.push_back(std::forward<F>(function));
  }
  void send(Arguments... arguments) const {
    for (std::size_t i = 0; i < receivers_.size(); ++i) receivers_[i](arguments...);
  }
  bool empty() const noexcept { return receivers_.empty(); }
  std::size_t size() const noexcept { return receivers_.size(); }

 private:
  std::vector<receiver> receivers_;
};

/// Several clean-ups have failed; the first is nested, all are in exceptions().
/// aiohttp.web.CleanupError.
class FIBER_API CleanupError : public RuntimeError {
 public:
  explicit CleanupError(std::vector<std::exception_ptr> exceptions);
  ~CleanupError() override;
  const std::vector<std::exception_ptr>& exceptions() const noexcept { return *exceptions_; }

 private:
  std::shared_ptr<const std::vector<std::exception_ptr>> exceptions_;
};

/// Generators that run up to their yield when the application begins, and on when it ends, the last
/// first. What app.cleanup_ctx() is.
class FIBER_API CleanupContext {
 public:
  /// function(application) returns a generator, which yields once:
  ///
  ///   app.cleanup_ctx().append([](web::Application& app) -> fiber::Generator<int> {
  ///     return [app](auto& self) { auto db = connect(); self.yield(0); db.close(); };
  ///   });
  template <class F>
    requires std::invocable<std::decay_t<F>&, Application&>
  void append(F&& function) {
    entries_.push_back([function = std::decay_t<F>(std::forward<F>(function))](
                           Application& app) mutable -> std::function<void()> {
      auto generator = function(app);
      static_cast<void>(generator.next());
      return [generator]() mutable {
        try {
          static_cast<void>(generator.next());
        } catch (const StopIteration&) {
          return;
        }
        throw RuntimeError("a generator of cleanup_ctx has more than one 'yield'");
      };
    });
  }

 private:
  friend struct detail::ApplicationObject;
  std::vector<std::function<std::function<void()>(Application&)>> entries_;
};

/// A key of what an application keeps, with its type: app[key] is a T&. aiohttp.web.AppKey.
template <class T>
struct AppKey {
  std::string name;
};

/// Keyword arguments of Application.
struct ApplicationOptions {
  std::vector<Middleware> middlewares = {};
  std::size_t client_max_size = 1024 * 1024;  ///< bytes that read(), text(), json(), post() accept
};

/// A counted reference; one loop and its thread. aiohttp.web.Application.
class FIBER_API Application {
 public:
  explicit Application(ApplicationOptions options = {});

  UrlDispatcher& router() const noexcept;
  void add_routes(const std::vector<RouteDef>& routes) const { router().add_routes(routes); }
  /// Another application below a prefix ("/admin"). It answers all paths there. Throws ValueError
  /// for a prefix that is "" or "/", RuntimeError if one of the two runs.
  Resource add_subapp(std::string_view prefix, const Application& subapp) const;
  /// The first is the outermost; until the application runs.
  std::vector<Middleware>& middlewares() const noexcept;

  Signal<Application&>& on_startup() const noexcept;
  Signal<Application&>& on_shutdown() const noexcept;
  Signal<Application&>& on_cleanup() const noexcept;
  /// Before the head of a response is sent, which may still be changed.
  Signal<Request&, StreamResponse&>& on_response_prepare() const noexcept;
  CleanupContext& cleanup_ctx() const noexcept;

  /// What handlers share: app["name"] is any type, app[AppKey<T>] one.
  std::any& operator[](std::string_view key) const;
  bool contains(std::string_view key) const noexcept;
  template <class T>
  T& operator[](const AppKey<T>& key) const {
    std::any& found = (*this)[key.name];
    if (!found.has_value()) found = T();
    return std::any_cast<T&>(found);
  }

  /// What runners do; await them.
  auto startup() const {
    return asyncio::detail::Deferred([self = *this] { self.start(); });
  }
  auto shutdown() const {
    return asyncio::detail::Deferred([self = *this] { self.shut_down(); });
  }
  auto cleanup() const {
    return asyncio::detail::Deferred([self = *this] { self.clean_up(); });
  }
  bool frozen() const noexcept;
  /// Routes can be added no more.
  void freeze() const;
  /// Finds the route and calls its handler: what a Server is given.
  StreamResponse handle(Request& request) const;
  /// Whether the outermost application has a route for it.
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
