// neon with GnuTLS, unmodified, against nginx.
#include <ne_request.h>
#include <ne_session.h>
#include <ne_socket.h>
#include <ne_ssl.h>
#include <ne_utils.h>

#include <doctest/doctest.h>

#include <memory>

#include "unmodified_libraries/secure_nginx.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;

namespace {

std::string get(int port) {
  const std::unique_ptr<ne_session, void (*)(ne_session*)> session(
      ne_session_create("https", "127.0.0.1", static_cast<unsigned>(port)), ne_session_destroy);
  ne_ssl_set_verify(
      session.get(), [](void*, int, const ne_ssl_certificate*) { return 0; }, nullptr);
  const std::unique_ptr<ne_request, void (*)(ne_request*)> request(
      ne_request_create(session.get(), "GET", "/page"), ne_request_destroy);
  std::string text;
  ne_add_response_body_reader(
      request.get(), ne_accept_2xx,
      [](void* to, const char* part, std::size_t size) {
        static_cast<std::string*>(to)->append(part, size);
        return 0;
      },
      &text);
  if (ne_request_dispatch(request.get()) != NE_OK) throw Failure(ne_get_error(session.get()));
  return text;
}

std::string version() {
  const std::string text = ne_version_string();  // "neon 0.32.5: Library build, ..."
  return text.substr(5, text.find(':') - 5);
}

}  // namespace

TEST_CASE("neon: downloads over TLS") {
  const SecureNginx server;
  ne_sock_init();
  try_out({.library = "neon (GnuTLS)",
           .version = version(),
           .function = "ne_session_create",
           .server = "nginx, TLS",
           .port = server.port(),
           .call = get,
           .answer = std::string(Nginx::kPageSize, 'p'),
           .at_once = 20});
  ne_sock_exit();
}
