// GIO, unmodified, against nginx.
#include <gio/gio.h>

#include <doctest/doctest.h>

#include <memory>

#include "unmodified_libraries/nginx.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;

namespace {

struct Unref {
  void operator()(void* object) const { g_object_unref(object); }
};

void must(GError* error) {
  if (error == nullptr) return;
  const std::unique_ptr<GError, void (*)(GError*)> memory(error, g_error_free);
  throw Failure(error->message);
}

std::string get(int port) {
  const std::unique_ptr<GSocketClient, Unref> client(g_socket_client_new());
  g_socket_client_set_enable_proxy(client.get(), FALSE);
  GError* error = nullptr;
  const std::unique_ptr<GSocketConnection, Unref> connection(g_socket_client_connect_to_host(
      client.get(), "127.0.0.1", static_cast<guint16>(port), nullptr, &error));
  must(error);
  const std::string request = "GET /page HTTP/1.0\r\n\r\n";
  GIOStream* stream = G_IO_STREAM(connection.get());
  g_output_stream_write_all(g_io_stream_get_output_stream(stream), request.data(), request.size(),
                            nullptr, nullptr, &error);
  must(error);
  std::string text;
  char part[4096];
  gssize size = 0;
  while ((size = g_input_stream_read(g_io_stream_get_input_stream(stream), part, sizeof part,
                                     nullptr, &error)) > 0)
    text.append(part, static_cast<std::size_t>(size));
  must(error);
  const auto body = text.find("\r\n\r\n");
  return body != std::string::npos ? text.substr(body + 4) : text;
}

// Makes GIO open, before the first test case, the descriptors that it keeps.
[[maybe_unused]] const bool has_called = [] {
  try {
    get(1);
  } catch (const Failure&) {
  }
  return true;
}();

}  // namespace

TEST_CASE("GIO: downloads") {
  const Nginx server;
  try_out({.library = "GIO",
           .version = std::to_string(glib_major_version) + "." +
                      std::to_string(glib_minor_version) + "." + std::to_string(glib_micro_version),
           .function = "g_socket_client_new",
           .server = "nginx",
           .port = server.port(),
           .call = get,
           .answer = std::string(Nginx::kPageSize, 'p')});
}
