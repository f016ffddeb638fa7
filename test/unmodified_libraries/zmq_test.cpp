// ZeroMQ, unmodified, at both ends. It aborts if a call fails with anything but EINTR, which its
// policy says; its sockets do their work in a thread of its own.
#include <zmq.h>

#include <doctest/doctest.h>

#include <cerrno>
#include <memory>

#include "unmodified_libraries/relays.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;

namespace {

using Context = std::unique_ptr<void, int (*)(void*)>;
using Socket = std::unique_ptr<void, int (*)(void*)>;

// ZeroMQ makes its own listener.
void serve(int port) {
  const Context context(zmq_ctx_new(), zmq_ctx_term);
  const Socket socket(zmq_socket(context.get(), ZMQ_REP), zmq_close);
  zmq_bind(socket.get(), ("tcp://127.0.0.1:" + std::to_string(port)).c_str());
  char text[10];
  while (zmq_recv(socket.get(), text, sizeof text, 0) >= 0) zmq_send(socket.get(), "hello", 5, 0);
}

std::string ask(void* context, int port) {
  const Socket socket(zmq_socket(context, ZMQ_REQ), zmq_close);
  const int none = 0;
  zmq_setsockopt(socket.get(), ZMQ_LINGER, &none, sizeof none);
  const int limit = 10'000;  // it knows no error: it tries to connect again and again
  zmq_setsockopt(socket.get(), ZMQ_RCVTIMEO, &limit, sizeof limit);
  zmq_connect(socket.get(), ("tcp://127.0.0.1:" + std::to_string(port)).c_str());
  char text[10];
  int size = zmq_send(socket.get(), "question", 8, 0);
  if (size >= 0) size = zmq_recv(socket.get(), text, sizeof text, 0);
  if (size < 0) throw Failure(zmq_strerror(errno));
  return std::string(text, static_cast<std::size_t>(size));
}

std::string version() {
  int major = 0, minor = 0, patch = 0;
  zmq_version(&major, &minor, &patch);
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

}  // namespace

TEST_CASE("ZeroMQ: questions and answers") {
  int port = 0;
  {
    const Relay free(SOCK_STREAM, never_answer);
    port = free.port();
  }
  const Relay server(SOCK_DGRAM, [=](int) { serve(port); });
  const Context context(zmq_ctx_new(), zmq_ctx_term);
  try_out({.library = "ZeroMQ",
           .version = version(),
           .function = "zmq_ctx_new",
           .server = "ZeroMQ",
           .port = port,
           .call = [&](int its) { return ask(context.get(), its); },
           .answer = "hello",
           .most_threads = 3,
           .closes_later = true,
           .tries_again = true});
}
