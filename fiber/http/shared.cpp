#include <fiber/http/shared.hpp>

#include <fiber/core/exit_order.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/http/failure.hpp>

#include <utility>

#include <sys/stat.h>

namespace fiber::http {
namespace {

constexpr std::size_t most_sessions = 100;

bool is_directory(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// OpenSSL's default authorities are not loaded if the request names a bundle.
ssl::SSLContext new_context(const Outgoing& request) {
  const std::string& bundle = request.verify.bundle();
  ssl::SSLContext context = [&] {
    if (request.verify.check() && bundle.empty()) return ssl::create_default_context();
    ssl::SSLContext other(ssl::PROTOCOL_TLS_CLIENT);
    if (!request.verify.check()) {
      other.check_hostname(false);
      other.verify_mode(ssl::CERT_NONE);
    } else if (is_directory(bundle)) {
      other.load_verify_locations({.capath = bundle});
    } else {
      other.load_verify_locations({.cafile = bundle});
    }
    return other;
  }();
  context.set_alpn_protocols({"http/1.1"});
  if (!request.certificate.empty()) context.load_cert_chain(request.certificate, request.key);
  // OpenSSL has registered its exit handler by now. Connections on other threads must end before
  // OpenSSL does.
  core::finish_before_exit_handlers();
  return context;
}

// One context for all: loading the machine's authorities takes as long as some thousand requests.
const ssl::SSLContext& usual_context(const Outgoing& request) {
  static const auto* context = new ssl::SSLContext(new_context(request));
  return *context;
}

}  // namespace

ssl::SSLContext Shared::context(const Outgoing& request) {
  if (request.context) return *request.context;
  try {
    const std::lock_guard lock(mutex_);
    if (request.verify.check() && request.verify.bundle().empty() && request.certificate.empty())
      return usual_context(request);
    std::tuple name(request.verify.check(), request.verify.bundle(), request.certificate,
                    request.key);
    auto found = contexts_.find(name);
    if (found == contexts_.end())
      found = contexts_.emplace(std::move(name), new_context(request)).first;
    return found->second;
  } catch (const Exception& error) {
    throw Failure{Failure::Kind::tls, error.what(), 0, request.url};
  }
}

std::optional<ssl::SSLSession> Shared::tls_session(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = sessions_.find(key);
  if (found == sessions_.end()) return std::nullopt;
  return found->second;
}

void Shared::keep(const std::string& key, ssl::SSLSession session) {
  const std::lock_guard lock(mutex_);
  if (sessions_.size() >= most_sessions) sessions_.clear();
  sessions_.insert_or_assign(key, std::move(session));
}

}  // namespace fiber::http
