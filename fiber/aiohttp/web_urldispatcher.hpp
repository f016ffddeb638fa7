// Maps paths to handlers. Python: aiohttp.web_urldispatcher, aiohttp.web_routedef.
//
// "/users/{name}" matches any part of a path without a slash, "/users/{id:\d+}" a part that the
// regular expression matches as a whole (fiber/http/pattern.hpp lists the supported expressions).
// Resources are tried in the order in which they were added; the first one with the path and the
// method answers.
#pragma once

#include <fiber/aiohttp/web_server.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiber::aiohttp::web {

namespace detail {
struct ResourceObject;
struct RouterObject;
}  // namespace detail

/// A method and its handler. Python: aiohttp.web.AbstractRoute, ResourceRoute.
class FIBER_API AbstractRoute {
 public:
  AbstractRoute(std::string method, Handler handler, const detail::ResourceObject& resource)
      : method_(std::move(method)), handler_(std::move(handler)), resource_(&resource) {}
  const std::string& method() const noexcept { return method_; }  ///< "*": any
  const Handler& handler() const noexcept { return handler_; }    ///< what a match calls
  /// The path of the resource, "/users/{id}", and its name, "" without one.
  const std::string& canonical() const noexcept;
  const std::string& name() const noexcept;  ///< "" for none

 private:
  std::string method_;
  Handler handler_;
  const detail::ResourceObject* resource_;
};

/// A path with one or more routes. A handle, valid as long as its application lives.
/// Python: aiohttp.web.Resource.
class FIBER_API Resource {
 public:
  explicit Resource(detail::ResourceObject& object) noexcept : object_(&object) {}
  const std::string& name() const noexcept;       ///< "" for none
  const std::string& canonical() const noexcept;  ///< "/users/{id}"
  /// Adds a handler. Throws RuntimeError for a method that has a handler already.
  template <handler_like F>
  const AbstractRoute& add_route(std::string_view method, F&& handler) const {
    return add(method, detail::as_handler(std::forward<F>(handler)));
  }
  /// Returns the path, quoted, with a value for each variable; a slash in a value is escaped unless
  /// the variable's expression takes it ({path:.*}). Throws LookupError for a missing value.
  std::string url_for(const std::map<std::string, std::string>& parts = {}) const;

 private:
  const AbstractRoute& add(std::string_view method, Handler handler) const;
  detail::ResourceObject* object_;
};

/// Keyword arguments of routes.
struct RouteOptions {
  std::string name = {};   ///< for router["name"].url_for()
  bool allow_head = true;  ///< GET: answer HEAD, too
};
/// Keyword arguments of static files.
struct StaticOptions {
  std::string name = {};                ///< for router["name"].url_for()
  bool show_index = false;              ///< list directories, as HTML
  bool follow_symlinks = false;         ///< also to files outside the directory
  std::size_t chunk_size = 256 * 1024;  ///< bytes per step without sendfile
};

/// A route to be added, made by get(), post() and others. Python: aiohttp.web.RouteDef, StaticDef.
struct RouteDef {
  std::string method;          ///< "GET", "*" for any
  std::string path;            ///< with its variables: "/users/{id}"
  Handler handler;             ///< null for static files
  RouteOptions options = {};   ///< of the handler
  std::string directory = {};  ///< the directory of static files
  StaticOptions files = {};    ///< of the directory
};

/// Returns a route for add_routes(); "*" is every method.
template <handler_like F>
RouteDef route(std::string method, std::string path, F&& handler, RouteOptions options = {}) {
  return {std::move(method), std::move(path), detail::as_handler(std::forward<F>(handler)),
          std::move(options)};
}
/// Returns a route for GET, and for HEAD unless allow_head is false.
template <handler_like F>
RouteDef get(std::string path, F&& handler, RouteOptions options = {}) {
  return web::route("GET", std::move(path), std::forward<F>(handler), std::move(options));
}
/// Returns a route for HEAD.
template <handler_like F>
RouteDef head(std::string path, F&& handler, RouteOptions options = {}) {
  return web::route("HEAD", std::move(path), std::forward<F>(handler), std::move(options));
}
/// Returns a route for POST.
template <handler_like F>
RouteDef post(std::string path, F&& handler, RouteOptions options = {}) {
  return web::route("POST", std::move(path), std::forward<F>(handler), std::move(options));
}
/// Returns a route for PUT.
template <handler_like F>
RouteDef put(std::string path, F&& handler, RouteOptions options = {}) {
  return web::route("PUT", std::move(path), std::forward<F>(handler), std::move(options));
}
/// Returns a route for PATCH.
template <handler_like F>
RouteDef patch(std::string path, F&& handler, RouteOptions options = {}) {
  return web::route("PATCH", std::move(path), std::forward<F>(handler), std::move(options));
}
/// Returns a route for DELETE.
template <handler_like F>
RouteDef delete_(std::string path, F&& handler, RouteOptions options = {}) {
  return web::route("DELETE", std::move(path), std::forward<F>(handler), std::move(options));
}
/// Returns a route for OPTIONS.
template <handler_like F>
RouteDef options(std::string path, F&& handler, RouteOptions options = {}) {
  return web::route("OPTIONS", std::move(path), std::forward<F>(handler), std::move(options));
}
/// Returns the static files below a directory. Python: aiohttp.web.static.
inline RouteDef static_(std::string prefix, std::string directory, StaticOptions options = {}) {
  return {{}, std::move(prefix), {}, {}, std::move(directory), std::move(options)};
}

/// The type of app.router(). Functions that add throw ValueError for a path that does not begin
/// with a slash, or is malformed, RuntimeError once the application runs. Python:
/// aiohttp.web.UrlDispatcher.
class FIBER_API UrlDispatcher {
 public:
  UrlDispatcher();
  UrlDispatcher(const UrlDispatcher&) = delete;
  UrlDispatcher& operator=(const UrlDispatcher&) = delete;
  ~UrlDispatcher();

  /// Adds a path, to which routes can be added. Returns the resource that was added last if it has
  /// this path and name.
  Resource add_resource(std::string_view path, std::string_view name = {});
  /// Adds a route to the resource of its path, which is made as by add_resource().
  template <handler_like F>
  const AbstractRoute& add_route(std::string_view method, std::string_view path, F&& handler,
                                 const RouteOptions& options = {}) {
    return add(method, path, detail::as_handler(std::forward<F>(handler)), options);
  }
  /// Adds GET, and HEAD unless allow_head is false.
  template <handler_like F>
  const AbstractRoute& add_get(std::string_view path, F&& handler,
                               const RouteOptions& options = {}) {
    Handler made = detail::as_handler(std::forward<F>(handler));
    if (options.allow_head) add("HEAD", path, made, options);
    return add("GET", path, std::move(made), options);
  }
  /// Adds a route for HEAD.
  template <handler_like F>
  const AbstractRoute& add_head(std::string_view path, F&& handler,
                                const RouteOptions& options = {}) {
    return add_route("HEAD", path, std::forward<F>(handler), options);
  }
  /// Adds a route for POST.
  template <handler_like F>
  const AbstractRoute& add_post(std::string_view path, F&& handler,
                                const RouteOptions& options = {}) {
    return add_route("POST", path, std::forward<F>(handler), options);
  }
  /// Adds a route for PUT.
  template <handler_like F>
  const AbstractRoute& add_put(std::string_view path, F&& handler,
                               const RouteOptions& options = {}) {
    return add_route("PUT", path, std::forward<F>(handler), options);
  }
  /// Adds a route for PATCH.
  template <handler_like F>
  const AbstractRoute& add_patch(std::string_view path, F&& handler,
                                 const RouteOptions& options = {}) {
    return add_route("PATCH", path, std::forward<F>(handler), options);
  }
  /// Adds a route for DELETE.
  template <handler_like F>
  const AbstractRoute& add_delete(std::string_view path, F&& handler,
                                  const RouteOptions& options = {}) {
    return add_route("DELETE", path, std::forward<F>(handler), options);
  }
  /// Adds a route for OPTIONS.
  template <handler_like F>
  const AbstractRoute& add_options(std::string_view path, F&& handler,
                                   const RouteOptions& options = {}) {
    return add_route("OPTIONS", path, std::forward<F>(handler), options);
  }
  /// Adds files below a directory. Throws ValueError if `directory` is no directory.
  Resource add_static(std::string_view prefix, std::string directory, StaticOptions options = {});
  /// Adds what get(), post() and others have made.
  void add_routes(const std::vector<RouteDef>& routes);

  /// Returns the resource of this name. Throws LookupError.
  Resource operator[](std::string_view name) const;
  bool contains(std::string_view name) const noexcept;  ///< whether operator[] finds it

  /// Fills `match` for a path as it is sent. Not in Python.
  void resolve(std::string_view method, std::string_view raw_path,
               UrlMappingMatchInfo& match) const;
  detail::RouterObject& object() const noexcept { return *object_; }

 private:
  const AbstractRoute& add(std::string_view method, std::string_view path, Handler handler,
                           const RouteOptions& options);
  std::unique_ptr<detail::RouterObject> object_;
};

/// A list of routes for add_routes(). Python: aiohttp.web.RouteTableDef.
class RouteTableDef : public std::vector<RouteDef> {
 public:
  /// Appends a route for GET.
  template <handler_like F>
  void get(std::string path, F&& handler, RouteOptions options = {}) {
    push_back(web::get(std::move(path), std::forward<F>(handler), std::move(options)));
  }
  /// Appends a route for POST.
  template <handler_like F>
  void post(std::string path, F&& handler, RouteOptions options = {}) {
    push_back(web::post(std::move(path), std::forward<F>(handler), std::move(options)));
  }
  /// Appends a route for any method; "*": for all.
  template <handler_like F>
  void route(std::string method, std::string path, F&& handler, RouteOptions options = {}) {
    push_back(web::route(std::move(method), std::move(path), std::forward<F>(handler),
                         std::move(options)));
  }
};

}  // namespace fiber::aiohttp::web
