#include <fiber/aiohttp/web_app.hpp>

#include <fiber/aiohttp/web_app_object.hpp>
#include <fiber/aiohttp/web_cleanup.hpp>
#include <fiber/aiohttp/web_exceptions.hpp>
#include <fiber/aiohttp/web_protocol.hpp>
#include <fiber/aiohttp/web_router_object.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/http/parser.hpp>

#include <algorithm>
#include <utility>

namespace fiber::aiohttp::web {

CleanupError::CleanupError(std::vector<std::exception_ptr> exceptions)
    : RuntimeError("Multiple errors on cleanup stage"),
      exceptions_(std::make_shared<const std::vector<std::exception_ptr>>(std::move(exceptions))) {}
CleanupError::~CleanupError() = default;

namespace detail {

void refuse_frozen() {
  throw RuntimeError("Cannot modify frozen list: append before the application is started");
}

namespace {

// Calls the middlewares around one handler, the outermost first.
struct Chain {
  struct Link {
    ApplicationObject* app;  // the owner of the middleware
    std::shared_ptr<const Middleware> middleware;
  };
  const std::vector<Link>& links;
  const Handler& last;
  ApplicationObject* innermost;

  StreamResponse run(Request& request, std::size_t i, ApplicationObject*& current) const {
    struct Restore {
      ApplicationObject*& place;
      ApplicationObject* before;
      ~Restore() { place = before; }
    } const restore{current, current};
    current = i == links.size() ? innermost : links[i].app;
    if (i == links.size()) return last(request);
    const Handler next = [this, i, &current](Request& inner) { return run(inner, i + 1, current); };
    return (*links[i].middleware)(request, next);
  }
};

void append_links(ApplicationObject& app, std::vector<Chain::Link>& links) {
  const auto all = app.middlewares_in_use != nullptr
                       ? app.middlewares_in_use
                       : std::make_shared<const std::vector<Middleware>>(app.middlewares);
  for (const Middleware& one : *all)
    links.push_back({&app, std::shared_ptr<const Middleware>(all, &one)});
}

// Makes all steps of a clean-up, even after one has thrown; end() throws their exceptions.
class Steps {
 public:
  template <class Step>
  void run(Step&& step) {
    make_step(
        [&] {
          try {
            step();
          } catch (const CleanupError& several) {
            const auto& all = several.exceptions();
            errors_.insert(errors_.end(), all.begin(), all.end());
          }
        },
        errors_);
  }
  void end() {
    if (errors_.size() == 1) std::rethrow_exception(errors_.front());
    if (!errors_.empty()) throw CleanupError(std::move(errors_));
  }

 private:
  std::vector<std::exception_ptr> errors_;
};

}  // namespace

StreamResponse ApplicationObject::handle(Request& request) {
  UrlMappingMatchInfo& match = request.match_info();
  request.connection().client_max_size = client_max_size;
  router.resolve(request.method(), request.raw_path(), match);
  request.app_ = match.apps_.empty() ? this : match.apps_.back();
  if (match.route_ != nullptr) request.connection().expect(request);
  if (match.route_ != nullptr && !any_middlewares) return match.route_->handler()(request);
  const Handler missing = [&match](Request& inner) -> StreamResponse {
    if (match.http_exception_ == 405) {
      std::sort(match.allowed_.begin(), match.allowed_.end());
      throw HTTPMethodNotAllowed(inner.method(), match.allowed_);
    }
    throw HTTPNotFound();
  };
  std::vector<Chain::Link> all;
  append_links(*this, all);
  for (ApplicationObject* app : match.apps_) append_links(*app, all);
  const Chain chain{all, match.route_ != nullptr ? match.route_->handler() : missing, request.app_};
  return chain.run(request, 0, request.app_);
}

void ApplicationObject::send_on_response_prepare(Request& request, ResponseObject& response) {
  ApplicationObject* root = this;
  while (root->parent != nullptr) root = root->parent;
  if (!root->any_signals) return;
  struct Handle : StreamResponse {
    explicit Handle(ResponseRef ref) : StreamResponse(std::move(ref)) {}
  } handle{ResponseRef(&response)};
  root->on_response_prepare.send(request, handle);
  for (ApplicationObject* app : request.match_info().apps_)
    app->on_response_prepare.send(request, handle);
}

void ApplicationObject::freeze() {
  frozen = true;
  router.object().frozen = true;
  on_startup.freeze();
  on_shutdown.freeze();
  on_cleanup.freeze();
  on_response_prepare.freeze();
  cleanup_ctx.freeze();
  middlewares_in_use = std::make_shared<const std::vector<Middleware>>(middlewares);
  any_signals = !on_response_prepare.empty();
  any_middlewares = !middlewares.empty();
  for (const auto& sub : subapps) {
    sub->freeze();
    any_signals = any_signals || sub->any_signals;
    any_middlewares = any_middlewares || sub->any_middlewares;
  }
}

void ApplicationObject::freeze_startup() noexcept {
  on_startup.freeze();
  for (const auto& sub : subapps) sub->freeze_startup();
}

// The contexts may append others, which are entered, too.
void ApplicationObject::enter_contexts() {
  Application self(shared_from_this());
  for (std::size_t i = 0; i < cleanup_ctx.entries_.size(); ++i) {
    const auto entry = cleanup_ctx.entries_[i];
    exits.push_back((*entry)(self));
  }
}

void ApplicationObject::exit_contexts() {
  Steps steps;
  while (!exits.empty()) {  // one by one: another clean-up may go on where a cancelled one stopped
    const auto exit = std::move(exits.back());
    exits.pop_back();
    steps.run(exit);
  }
  steps.end();
}

void ApplicationObject::clean_up() {
  Steps steps;
  Application self(shared_from_this());
  if (frozen) {
    on_cleanup.send_by([&](const auto& receiver) { steps.run([&] { receiver(self); }); });
  } else {  // the start has failed
    steps.run([&] { exit_contexts(); });
    for (const auto& sub : subapps) steps.run([&] { sub->clean_up(); });
  }
  steps.end();
}

}  // namespace detail

// --- the handle ---------------------------------------------------------------------------------

Application::Application(ApplicationOptions options)
    : object_(std::make_shared<detail::ApplicationObject>()) {
  detail::ApplicationObject* self = object_.get();
  self->middlewares = std::move(options.middlewares);
  self->client_max_size = options.client_max_size;
  self->on_startup.append([self](Application&) { self->enter_contexts(); });
  self->on_cleanup.append([self](Application&) { self->exit_contexts(); });
}

UrlDispatcher& Application::router() const noexcept { return object_->router; }
std::vector<Middleware>& Application::middlewares() const noexcept { return object_->middlewares; }
Signal<Application&>& Application::on_startup() const noexcept { return object_->on_startup; }
Signal<Application&>& Application::on_shutdown() const noexcept { return object_->on_shutdown; }
Signal<Application&>& Application::on_cleanup() const noexcept { return object_->on_cleanup; }
Signal<Request&, StreamResponse&>& Application::on_response_prepare() const noexcept {
  return object_->on_response_prepare;
}
CleanupContext& Application::cleanup_ctx() const noexcept { return object_->cleanup_ctx; }

std::any& Application::operator[](std::string_view key) const {
  const auto found = object_->state.find(key);
  if (found != object_->state.end()) return found->second;
  return object_->state[std::string(key)];
}
bool Application::contains(std::string_view key) const noexcept {
  return object_->state.find(key) != object_->state.end();
}

bool Application::frozen() const noexcept { return object_->frozen; }
void Application::freeze() const { object_->freeze(); }

Resource Application::add_subapp(std::string_view prefix, const Application& subapp) const {
  if (object_->frozen || object_->on_startup.frozen() || subapp.frozen())
    throw RuntimeError("Cannot add sub application to a running application");
  if (subapp.object_->parent != nullptr || subapp == *this)
    throw RuntimeError(
        "the application is a sub application of another one already, or is added to itself");
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  if (prefix.empty()) throw ValueError("Prefix cannot be empty");
  auto& resources = object_->router.object().resources;
  auto made = std::make_unique<detail::ResourceObject>(prefix, "");
  if (made->kind != detail::ResourceObject::Kind::plain)
    throw ValueError("the prefix of a sub application cannot have variables");
  const std::string quoted = made->path;
  made->kind = detail::ResourceObject::Kind::sub_application;
  made->sub = subapp.object_;
  // Recursively: the prefixes of nested applications add up.
  const auto add_prefix = [&quoted](auto&& self, detail::ApplicationObject& app) -> void {
    for (const auto& resource : app.router.object().resources) resource->add_prefix(quoted);
    app.router.object().indexed = false;
    for (const auto& sub : app.subapps) self(self, *sub);
  };
  add_prefix(add_prefix, *subapp.object_);
  subapp.object_->parent = object_.get();
  object_->subapps.push_back(subapp.object_);
  // Functions that send the signals of `subapp` are appended to this application's own functions.
  detail::ApplicationObject* below = subapp.object_.get();
  object_->on_startup.append([below](Application&) {
    Application its(below->shared_from_this());
    below->on_startup.send(its);
  });
  object_->on_shutdown.append([below](Application&) {
    Application its(below->shared_from_this());
    below->on_shutdown.send(its);
  });
  object_->on_cleanup.append([below](Application&) { below->clean_up(); });
  resources.push_back(std::move(made));
  object_->router.object().indexed = false;
  return Resource(*resources.back());
}

// The functions may still add routes.
void Application::start() const {
  Application self = *this;
  object_->freeze_startup();
  object_->on_startup.send(self);
  object_->freeze();
}
void Application::shut_down() const {
  Application self = *this;
  object_->on_shutdown.send(self);
}
void Application::clean_up() const { object_->clean_up(); }
StreamResponse Application::handle(Request& request) const { return object_->handle(request); }

bool Application::matches(std::string_view method, std::string_view raw_path) const {
  const detail::ApplicationObject* root = object_.get();
  while (root->parent != nullptr) root = root->parent;
  UrlMappingMatchInfo match;
  root->router.resolve(method, raw_path, match);
  return match.route() != nullptr;
}

// --- normalize_path_middleware ------------------------------------------------------------------

Middleware normalize_path_middleware(NormalizePathOptions options) {
  if (options.append_slash && options.remove_slash)
    throw ValueError("Cannot both remove and append slash");
  return [options](Request& request, const Handler& handler) -> StreamResponse {
    if (request.match_info().route() != nullptr) return handler(request);
    const std::string raw(request.raw_path());
    const std::size_t mark = raw.find('?');
    const std::string path = raw.substr(0, mark);
    const std::string query = mark == std::string::npos ? std::string() : raw.substr(mark);
    std::vector<std::string> candidates;
    std::string merged;
    for (const char c : path)
      if (c != '/' || merged.empty() || merged.back() != '/') merged += c;
    if (options.merge_slashes) candidates.push_back(merged);
    const auto vary = [&](std::string one) {
      if (options.append_slash && !one.ends_with('/')) candidates.push_back(one + "/");
      if (options.remove_slash && one.ends_with('/'))
        candidates.push_back(one.substr(0, one.size() - 1));
    };
    vary(path);
    if (options.merge_slashes) vary(merged);
    for (std::string candidate : candidates) {
      // A redirect to "//host" would lead to another server.
      while (candidate.starts_with("//")) candidate.erase(0, 1);
      if (candidate == path || candidate.empty()) continue;
      if (request.app().matches(request.method(), candidate))
        throw HTTPPermanentRedirect(candidate + query);
    }
    return handler(request);
  };
}

}  // namespace fiber::aiohttp::web
