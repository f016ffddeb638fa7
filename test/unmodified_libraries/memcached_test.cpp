// libmemcached, unmodified, against memcached.
#include <libmemcached/memcached.h>

#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "unmodified_libraries/servers.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;

namespace {

class Memcached : public Server {
 public:
  Memcached() {
    command_ = {need_program("memcached", "memcached"),
                "-l",
                "127.0.0.1",
                "-p",
                std::to_string(port_),
                "-U",
                "0",
                "-m",
                "8"};
    start();
  }
};

std::string set_and_get(int port) {
  const std::unique_ptr<memcached_st, void (*)(memcached_st*)> client(memcached_create(nullptr),
                                                                      memcached_free);
  memcached_server_add(client.get(), "127.0.0.1", static_cast<in_port_t>(port));
  // Five seconds else.
  memcached_behavior_set(client.get(), MEMCACHED_BEHAVIOR_POLL_TIMEOUT, 60'000);
  memcached_behavior_set(client.get(), MEMCACHED_BEHAVIOR_CONNECT_TIMEOUT, 60'000);
  const auto must = [&](memcached_return_t status) {
    if (status != MEMCACHED_SUCCESS) throw Failure(memcached_strerror(client.get(), status));
  };
  must(memcached_set(client.get(), "key", 3, "hello", 5, 0, 0));
  std::size_t size = 0;
  std::uint32_t flags = 0;
  memcached_return_t status = MEMCACHED_SUCCESS;
  char* value = memcached_get(client.get(), "key", 3, &size, &flags, &status);
  const std::unique_ptr<char, void (*)(void*)> memory(value, std::free);
  must(status);
  return std::string(value, size);
}

}  // namespace

TEST_CASE("libmemcached: what was set comes back") {
  const Memcached server;
  try_out({.library = "libmemcached",
           .version = memcached_lib_version(),
           .function = "memcached_create",
           .server = "memcached",
           .port = server.port(),
           .call = set_and_get,
           .answer = "hello"});
}
