// The object behind the Application handles.
#pragma once

#include <fiber/aiohttp/web_app.hpp>
#include <fiber/aiohttp/web_response_object.hpp>

#include <any>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace fiber::aiohttp::web::detail {

struct ApplicationObject : std::enable_shared_from_this<ApplicationObject> {
  StreamResponse handle(Request& request);
  /// Sends the signal of every application that the request has passed.
  void send_on_response_prepare(Request& request, ResponseObject& response);
  void freeze();
  /// Forbids further functions of on_startup, here and below.
  void freeze_startup() noexcept;
  void enter_contexts();
  void exit_contexts();
  /// Sends on_cleanup, or only leaves the contexts if the start has failed.
  void clean_up();

  UrlDispatcher router;
  std::vector<Middleware> middlewares;
  /// The middlewares at the time of freeze(), for requests that are under way.
  std::shared_ptr<const std::vector<Middleware>> middlewares_in_use;
  std::size_t client_max_size = 0;
  std::map<std::string, std::any, std::less<>> state;
  Signal<Application&> on_startup;
  Signal<Application&> on_shutdown;
  Signal<Application&> on_cleanup;
  Signal<Request&, StreamResponse&> on_response_prepare;
  CleanupContext cleanup_ctx;
  std::vector<std::function<void()>> exits;
  std::vector<std::shared_ptr<ApplicationObject>> subapps;
  ApplicationObject* parent = nullptr;
  bool frozen = false;
  bool any_signals = false;      ///< on_response_prepare has functions, here or below
  bool any_middlewares = false;  ///< here or below
};

}  // namespace fiber::aiohttp::web::detail
