#include <fiber/aiohttp/web_urldispatcher.hpp>

#include <fiber/aiohttp/web_app_object.hpp>
#include <fiber/aiohttp/web_router_object.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/http/quoting.hpp>

#include <algorithm>
#include <optional>

namespace fiber::aiohttp::web {
namespace detail {
namespace {

constexpr std::string_view kUsual = "[^{}/]+";
// The characters that need no escape in a path.
constexpr std::string_view kSafe = "/!$&'()*+,;=:@";

bool is_name_start(char c) noexcept {
  return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_name(char c) noexcept { return is_name_start(c) || (c >= '0' && c <= '9'); }

[[noreturn]] void bad_path(std::string_view path) {
  throw ValueError("Invalid path '" + std::string(path) + "'");
}

// Returns the end of the variable that begins at `at`: expressions may have braces of their own.
std::size_t end_of_variable(std::string_view text, std::size_t at) noexcept {
  int depth = 0;
  for (; at < text.size(); ++at) {
    if (text[at] == '{') ++depth;
    if (text[at] == '}' && --depth == 0) return at;
  }
  return std::string_view::npos;
}

void allow(std::vector<std::string>& allowed, const ResourceObject& resource) {
  for (const auto& route : resource.routes)
    if (std::find(allowed.begin(), allowed.end(), route->method()) == allowed.end())
      allowed.push_back(route->method());
}

// Whether the name consists of identifiers with `.`, `:` or `-` between them.
bool is_route_name(std::string_view name) noexcept {
  for (bool first = true; !name.empty(); name.remove_prefix(1)) {
    const char c = name.front();
    const bool separates = c == '.' || c == ':' || c == '-';
    if (separates ? first : !(first ? is_name_start(c) : is_name(c))) return false;
    if (separates && name.size() == 1) return false;
    first = separates;
  }
  return true;
}

}  // namespace

std::string normalized_path(std::string_view raw) {
  std::string path;
  path.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] == '%' && i + 2 < raw.size()) {
      const std::string byte = http::unquote(raw.substr(i, 3));
      const bool unreserved = byte.size() == 1 && http::quote(byte, "") == byte;
      if (unreserved) {
        path += byte;
      } else {
        path += '%';
        for (const std::size_t k : {i + 1, i + 2})
          path += raw[k] >= 'a' && raw[k] <= 'f' ? static_cast<char>(raw[k] - 32) : raw[k];
      }
      i += 2;
    } else if (static_cast<unsigned char>(raw[i]) >= 0x80) {
      path += http::quote(raw.substr(i, 1), "");
    } else {
      path += raw[i];
    }
  }
  return path;
}

// --- resources ----------------------------------------------------------------------------------

ResourceObject::ResourceObject(std::string_view text, std::string_view its_name)
    : name(its_name), canonical(text) {
  if (!text.empty() && text.front() != '/')
    throw ValueError("path should be started with / or be empty, not '" + std::string(text) + "'");
  parse(text);
  compile();
}

void ResourceObject::parse(std::string_view text) {
  std::string literal;
  canonical.clear();
  std::size_t at = 0;
  while (at < text.size()) {
    if (text[at] == '}') bad_path(text);
    if (text[at] != '{') {
      literal += text[at];
      canonical += text[at++];
      continue;
    }
    const std::size_t end = end_of_variable(text, at);
    if (end == std::string_view::npos) bad_path(text);
    const std::string_view inner = text.substr(at + 1, end - at - 1);
    const std::size_t colon = inner.find(':');
    const std::string_view variable = inner.substr(0, colon);
    if (variable.empty() || !is_name_start(variable.front()) ||
        !std::all_of(variable.begin(), variable.end(), is_name) ||
        (colon != std::string_view::npos && colon + 1 == inner.size()))
      bad_path(text);
    for (const Part& part : parts)
      if (part.variable && part.text == variable) bad_path(text);
    if (!literal.empty())
      parts.push_back({false, normalized_path(http::quote(literal, "/%!$&'()*+,;=:@"))});
    literal.clear();
    parts.push_back({true, std::string(variable)});
    expressions.emplace_back(colon == std::string_view::npos ? std::string_view()
                                                             : inner.substr(colon + 1));
    canonical += "{" + std::string(variable) + "}";
    at = end + 1;
  }
  if (!literal.empty())
    parts.push_back({false, normalized_path(http::quote(literal, "/%!$&'()*+,;=:@"))});
  kind = expressions.empty() ? Kind::plain : Kind::dynamic;
}

void ResourceObject::compile() {
  if (kind != Kind::dynamic) {
    path = parts.empty() ? std::string() : parts.front().text;
    return;
  }
  pattern = http::Pattern();
  simple = true;
  std::size_t variable = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (!parts[i].variable) {
      pattern.add_literal(parts[i].text);
      continue;
    }
    const std::string& expression = expressions[variable++];
    const bool slash_follows =
        i + 1 == parts.size() || (!parts[i + 1].variable && parts[i + 1].text.front() == '/');
    if (!expression.empty() || !slash_follows) simple = false;
    pattern.add_group(expression.empty() ? kUsual : std::string_view(expression));
  }
}

void ResourceObject::add_prefix(std::string_view prefix) {
  canonical = std::string(prefix) + canonical;
  if (!parts.empty() && !parts.front().variable)
    parts.front().text = std::string(prefix) + parts.front().text;
  else
    parts.insert(parts.begin(), {false, std::string(prefix)});
  if (kind == Kind::prefix || kind == Kind::sub_application)
    path = std::string(prefix) + path;
  else
    compile();
}

bool ResourceObject::match_path(std::string_view text,
                                std::vector<std::string_view>& values) const {
  values.clear();
  switch (kind) {
    case Kind::plain: return text == path;
    case Kind::prefix:
    case Kind::sub_application:
      return text.starts_with(path) && (text.size() == path.size() || text[path.size()] == '/');
    case Kind::dynamic: break;
  }
  if (!simple) return pattern.match(text, values);
  for (const Part& part : parts) {
    if (!part.variable) {
      if (!text.starts_with(part.text)) return false;
      text.remove_prefix(part.text.size());
      continue;
    }
    const std::size_t size = std::min(text.find_first_of("/{}"), text.size());
    if (size == 0) return false;
    values.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return text.empty();
}

const AbstractRoute* ResourceObject::route_for(std::string_view method) const noexcept {
  for (const auto& route : routes)
    if (route->method() == method || route->method() == "*") return route.get();
  return nullptr;
}

namespace {

// Returns the value of a variable in a path. A slash stays one where the expression takes it, as
// `.*` does; elsewhere it is escaped, so that the path leads here.
std::string part_of_path(std::string_view value, const std::string& expression) {
  if (!expression.empty() && value.find('/') != value.npos) {
    std::string with_slashes = http::quote(value, kSafe);
    std::vector<std::string_view> groups;
    http::Pattern pattern;
    pattern.add_group(expression);
    if (pattern.match(with_slashes, groups)) return with_slashes;
  }
  return http::quote(value, kSafe.substr(1));
}

}  // namespace

std::string ResourceObject::url_for(const std::map<std::string, std::string>& values) const {
  if (kind == Kind::prefix) {
    const auto file = values.find("filename");
    if (file == values.end()) throw LookupError("'filename'");
    const std::string_view name =
        std::string_view(file->second).substr(file->second.starts_with('/'));
    return path + "/" + http::quote(name, kSafe);
  }
  if (kind != Kind::dynamic) return path;
  std::string url;
  auto expression = expressions.begin();
  for (const Part& part : parts) {
    if (!part.variable) {
      url += part.text;
      continue;
    }
    const auto found = values.find(part.text);
    if (found == values.end()) throw LookupError("'" + part.text + "'");
    url += part_of_path(found->second, *expression++);
  }
  return url;
}

// A path that was added twice is tried in order: the second resource if the first has no such
// method.
void RouterObject::index() {
  plain.clear();
  others.clear();
  for (std::size_t i = 0; i < resources.size(); ++i) {
    const ResourceObject& resource = *resources[i];
    const bool first =
        resource.kind == ResourceObject::Kind::plain && plain.emplace(resource.path, i).second;
    if (!first) others.push_back(i);
  }
  indexed = true;
}

}  // namespace detail

// --- handles ------------------------------------------------------------------------------------

const std::string& AbstractRoute::canonical() const noexcept { return resource_->canonical; }
const std::string& AbstractRoute::name() const noexcept { return resource_->name; }
const std::string& Resource::name() const noexcept { return object_->name; }
const std::string& Resource::canonical() const noexcept { return object_->canonical; }
std::string Resource::url_for(const std::map<std::string, std::string>& parts) const {
  return object_->url_for(parts);
}

const AbstractRoute& Resource::add(std::string_view method, Handler handler) const {
  std::string upper = http::upper(method);
  if (upper != "*" && !http::is_token(upper))
    throw ValueError("'" + upper + "' is not allowed HTTP method");
  for (const auto& route : object_->routes)
    if (route->method() == upper || route->method() == "*")
      throw RuntimeError("Added route will never be executed, method " + upper +
                         " is already registered for '" + object_->canonical + "'");
  object_->routes.push_back(
      std::make_unique<AbstractRoute>(std::move(upper), std::move(handler), *object_));
  return *object_->routes.back();
}

UrlDispatcher::UrlDispatcher() : object_(std::make_unique<detail::RouterObject>()) {}
UrlDispatcher::~UrlDispatcher() = default;

Resource UrlDispatcher::add_resource(std::string_view path, std::string_view name) {
  if (object_->frozen)
    throw RuntimeError("Cannot register a resource into frozen router: the application runs");
  if (!name.empty() && !detail::is_route_name(name))
    throw ValueError("Incorrect route name '" + std::string(name) +
                     "', the name should be a sequence of identifiers separated by dash, dot or "
                     "colon");
  auto made = std::make_unique<detail::ResourceObject>(path, name);
  if (!object_->resources.empty()) {
    detail::ResourceObject& last = *object_->resources.back();
    const bool same = last.name == name && last.kind == made->kind &&
                      last.canonical == made->canonical && last.expressions == made->expressions;
    if (same) return Resource(last);
  }
  if (!name.empty() && contains(name))
    throw ValueError("Duplicate '" + std::string(name) + "', already handled by '" +
                     (*this)[name].canonical() + "'");
  object_->resources.push_back(std::move(made));
  object_->indexed = false;
  return Resource(*object_->resources.back());
}

const AbstractRoute& UrlDispatcher::add(std::string_view method, std::string_view path,
                                        Handler handler, const RouteOptions& options) {
  return add_resource(path, options.name).add_route(method, std::move(handler));
}

void UrlDispatcher::add_routes(const std::vector<RouteDef>& routes) {
  for (const RouteDef& route : routes) {
    if (!route.directory.empty())
      add_static(route.path, route.directory, route.files);
    else if (route.method == "GET")
      add_get(route.path, route.handler, route.options);
    else
      add_route(route.method, route.path, route.handler, route.options);
  }
}

Resource UrlDispatcher::operator[](std::string_view name) const {
  for (const auto& resource : object_->resources)
    if (resource->name == name && !name.empty()) return Resource(*resource);
  throw LookupError("'" + std::string(name) + "'");
}

bool UrlDispatcher::contains(std::string_view name) const noexcept {
  return std::any_of(object_->resources.begin(), object_->resources.end(),
                     [&](const auto& resource) { return resource->name == name; });
}

void UrlDispatcher::resolve(std::string_view method, std::string_view raw_path,
                            UrlMappingMatchInfo& match) const {
  detail::RouterObject& router = *object_;
  if (!router.indexed) router.index();
  std::string_view path = raw_path.substr(0, raw_path.find_first_of("?#"));
  std::optional<std::string> normalized;
  const auto odd = [](char c) { return c == '%' || static_cast<unsigned char>(c) >= 0x80; };
  if (std::any_of(path.begin(), path.end(), odd))
    path = normalized.emplace(detail::normalized_path(path));
  std::vector<std::string_view> values;
  // Returns true if the resource matches: the search ends.
  const auto attempt = [&](const detail::ResourceObject& resource) {
    if (!resource.match_path(path, values)) return false;
    if (resource.kind == detail::ResourceObject::Kind::sub_application) {
      match.allowed_.clear();
      match.apps_.push_back(resource.sub.get());
      resource.sub->router.resolve(method, raw_path, match);
      return true;
    }
    const AbstractRoute* route = resource.route_for(method);
    if (route == nullptr) {
      detail::allow(match.allowed_, resource);
      return false;
    }
    match.route_ = route;
    match.values_.clear();
    std::size_t at = 0;
    if (resource.kind == detail::ResourceObject::Kind::dynamic) {
      for (const auto& part : resource.parts)
        if (part.variable) match.values_.emplace_back(part.text, http::unquote(values[at++]));
    } else if (resource.kind == detail::ResourceObject::Kind::prefix) {
      const std::string_view rest = path.substr(std::min(path.size(), resource.path.size() + 1));
      match.values_.emplace_back("filename", http::unquote(rest));
    }
    return true;
  };
  const auto found = router.plain.find(path);
  const std::size_t first = found == router.plain.end() ? router.resources.size() : found->second;
  std::size_t i = 0;
  for (; i < router.others.size() && router.others[i] < first; ++i)
    if (attempt(*router.resources[router.others[i]])) return;
  if (found != router.plain.end() && attempt(*router.resources[first])) return;
  for (; i < router.others.size(); ++i)
    if (attempt(*router.resources[router.others[i]])) return;
  match.http_exception_ = match.allowed_.empty() ? 404 : 405;
}

}  // namespace fiber::aiohttp::web
