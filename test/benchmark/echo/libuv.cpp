// The echo server on libuv. It prints its port.
#include "socket.hpp"

#include <uv.h>

namespace {

char buffer[64 * 1024];

void on_read(uv_stream_t* stream, ssize_t got, const uv_buf_t*) {
  if (got < 0) {
    uv_close(reinterpret_cast<uv_handle_t*>(stream),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_tcp_t*>(handle); });
    return;
  }
  uv_buf_t data = uv_buf_init(buffer, static_cast<unsigned>(got));
  if (uv_try_write(stream, &data, 1) == got) return;
  std::fprintf(stderr, "libuv: the socket's buffer is full\n");
  std::exit(1);
}

void on_connection(uv_stream_t* server, int) {
  auto* client = new uv_tcp_t;
  uv_tcp_init(server->loop, client);
  uv_accept(server, reinterpret_cast<uv_stream_t*>(client));
  uv_tcp_nodelay(client, 1);
  uv_read_start(
      reinterpret_cast<uv_stream_t*>(client),
      [](uv_handle_t*, std::size_t, uv_buf_t* given) {
        *given = uv_buf_init(buffer, sizeof buffer);
      },
      on_read);
}

}  // namespace

int main() {
  uv_tcp_t server;
  uv_tcp_init(uv_default_loop(), &server);
  uv_tcp_open(&server, echo::listen_somewhere(SOCK_NONBLOCK));
  uv_listen(reinterpret_cast<uv_stream_t*>(&server), 1024, on_connection);
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
