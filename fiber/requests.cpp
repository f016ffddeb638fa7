#include <fiber/requests.hpp>

#include <fiber/exceptions.hpp>
#include <fiber/http/set_cookie.hpp>
#include <fiber/http/text.hpp>
#include <fiber/http/transfer.hpp>
#include <fiber/http/url.hpp>
#include <fiber/requests/stream.hpp>

#include <algorithm>
#include <cstdlib>

#include <sys/stat.h>

namespace fiber::requests {
namespace {

// The most bytes of a streamed body that may wait for the reader.
constexpr std::size_t stream_buffer = 256 * 1024;

// Returns the session's parameters, with the values of the request's where both have a name.
// Python: merge_setting().
Params merged(const Params& of_session, const Params& of_request) {
  Params all;
  const auto put = [&](const std::string& name) {
    for (const auto& one : of_request)
      if (one.first == name) all.push_back(one);
  };
  const auto has = [](const Params& params, const std::string& name) {
    return std::any_of(params.begin(), params.end(),
                       [&](const auto& one) { return one.first == name; });
  };
  for (const auto& one : of_session) {
    if (!has(of_request, one.first))
      all.push_back(one);
    else if (!has(all, one.first))
      put(one.first);
  }
  for (const auto& one : of_request)
    if (!has(of_session, one.first)) all.push_back(one);
  return all;
}

void check_timeout(const char* name, const std::optional<http::Seconds>& timeout) {
  if (timeout && !(timeout->count() > 0))
    throw ValueError("Attempted to set " + std::string(name) + " timeout to " +
                     in_seconds(*timeout) +
                     ", but the timeout cannot be set to a value less than or equal to 0.");
}

Verify from_environment() {
  for (const char* name : {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"})
    if (const char* bundle = std::getenv(name); bundle && *bundle) return bundle;
  return true;
}

// `what`: "the TLS key file"
void check_file(const std::string& what, const std::string& path) {
  struct stat status;
  if (path.find('\0') != path.npos || ::stat(path.c_str(), &status) != 0)
    throw OSError("Could not find " + what + ", invalid path: " + path);
}

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         http::equal_ignoring_case(text.substr(0, prefix.size()), prefix);
}

// Python takes an empty text, form or list for none.
bool has_bytes(const Body& data) {
  return data.source() || !data.bytes().empty() || (!data.form() && !data.content_type().empty());
}

Body json_body(const Json& json) {
  if (!json.error().empty()) throw InvalidJSONError(json.error());
  if (!json.finite()) throw InvalidJSONError("Out of range float values are not JSON compliant");
  return Body(json.text(), "application/json");
}

}  // namespace

Session::Session()
    : headers{{"User-Agent", "fiber-requests"}, {"Accept", "*/*"}},
      core_(std::make_shared<Core>()),
      adapters_{{"https://", {}}, {"http://", {}}} {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

const std::shared_ptr<Session::Core>& Session::core() const {
  if (!core_) throw ValueError("this Session was moved from");
  return core_;
}

void Session::mount(std::string prefix, HTTPAdapter adapter) {
  core();
  std::erase_if(adapters_, [&](const auto& mounted) { return mounted.first == prefix; });
  const auto place = std::find_if(adapters_.begin(), adapters_.end(), [&](const auto& mounted) {
    return mounted.first.size() < prefix.size();
  });
  adapters_.emplace(place, std::move(prefix), std::move(adapter));
}

const HTTPAdapter& Session::get_adapter(std::string_view url) const {
  core();
  for (const auto& [prefix, adapter] : adapters_)
    if (starts_with_ignoring_case(url, prefix)) return adapter;
  throw InvalidSchema("No connection adapters were found for '" + std::string(url) + "'");
}

// Returns the request to send, after `asked` has changed it. Moves data, json and files out of the
// options.
PreparedRequest Session::prepare(std::string_view method, std::string_view url, Options& options,
                                 const Auth& asked) const {
  PreparedRequest request{
      http::upper(method), http::prepare_url(url, merged(params, options.params)), headers, {}};
  request.headers.update(options.headers);
  if (!options.files.empty())
    request.body = encode_files(options.files, options.data);
  else if (!has_bytes(options.data) && options.json)
    request.body = json_body(options.json);
  else if (has_bytes(options.data))
    request.body = std::move(options.data);
  if (!request.body.content_type().empty() && !request.headers.contains("Content-Type"))
    request.headers.set("Content-Type", request.body.content_type());

  if (!asked.digest() && !asked.function()) return request;
  http::take_credentials(request.url);
  if (asked.digest()) (*asked.digest())(request);
  if (asked.function()) {
    const std::string before = request.url;
    asked.function()(request);
    if (request.url != before) request.url = http::prepare_url(request.url, {});
  }
  return request;
}

Response Session::request(std::string_view method, std::string_view url, Options options) const {
  core();
  check_timeout("connect", options.timeout.connect);
  check_timeout("read", options.timeout.read);
  const Cert& certificate = options.cert ? options.cert : cert;
  if (certificate) check_file("the TLS certificate file", certificate.certificate());
  if (!certificate.key().empty()) check_file("the TLS key file", certificate.key());
  // A copy: the function in it may assign to session.auth while it runs.
  const Auth asked = options.auth ? options.auth : auth;
  const Verify& asked_verify = options.verify ? *options.verify : verify;
  Params all_proxies = proxies;
  all_proxies.insert(all_proxies.end(), options.proxies.begin(), options.proxies.end());
  const bool in_memory = !options.stream && !options.stream_to;
  try {
    PreparedRequest prepared = prepare(method, url, options, asked);
    // A copy, made when Python makes it: a hook may change session.hooks for later requests.
    const Hooks called = options.hooks.response.empty() ? hooks : options.hooks;
    const Verify checks = trust_env && asked_verify.check() && asked_verify.bundle().empty()
                              ? from_environment()
                              : asked_verify;
    if (prepared.url.starts_with("https:") && !checks.bundle().empty())
      check_file("a suitable TLS CA certificate bundle", checks.bundle());
    auto stream = std::make_shared<Response::Stream>(
        core_,
        http::Outgoing{
            .rules = http::Rules::requests,
            .method = std::move(prepared.method),
            .url = std::move(prepared.url),
            .headers = std::move(prepared.headers),
            .body = std::move(prepared.body),
            .cookies = std::move(options.cookies),
            .auth = asked.basic(),
            .verify = checks,
            .follow_redirects = options.allow_redirects.value_or(true),
            .max_redirects = max_redirects,
            .connect_timeout = options.timeout.connect,
            .proxies = std::move(all_proxies),
            .certificate = certificate.certificate(),
            .key = certificate.key(),
            .keep_history = true,
            .trust_env = trust_env,
            .max_body_size = options.max_body_size ? *options.max_body_size
                                                   : max_body_size.value_or(http::unlimited),
        },
        options.timeout.read, in_memory ? http::unlimited : stream_buffer);
    stream->read_head(
        [this](const std::string& target) {
          return Attempts(get_adapter(target).max_retries.retry());
        },
        asked.digest());

    Response response = stream->response();
    if (options.stream) {
      response.stream_ = std::move(stream);
    } else if (options.stream_to && response.ok()) {
      for (std::string piece = stream->read(0); !piece.empty(); piece = stream->read(0))
        options.stream_to(piece);
    } else {
      stream->transfer().set_limit(http::unlimited);
      response.content = stream->read_all();
    }
    for (Response& before : response.history)
      for (const Hook& hook : called.response) hook(before);
    for (const Hook& hook : called.response) hook(response);
    return response;
  } catch (const http::Failure& failure) {
    raise(failure);
  }
}

Params Session::cookies() const { return core()->shared->cookies().names_and_values(); }

void Session::set_cookie(std::string name, std::string value, const SetCookieOptions& where) const {
  http::check_cookie(name, value);
  const bool dotted = where.domain.starts_with('.');
  core()->shared->cookies().add({.name = std::move(name),
                                 .value = std::move(value),
                                 .domain = http::lower(where.domain.substr(dotted ? 1 : 0)),
                                 .host_only = !dotted && !where.domain.empty(),
                                 .path = where.path});
}

void Session::clear_cookies() const { core()->shared->cookies().clear(); }

void Session::close() { core()->close(); }

Response request(std::string_view method, std::string_view url, Options options) {
  return Session().request(method, url, std::move(options));
}

}  // namespace fiber::requests
