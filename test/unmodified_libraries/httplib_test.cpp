// cpp-httplib, unmodified, against nginx.
#include <httplib.h>

#include <doctest/doctest.h>

#include "unmodified_libraries/nginx.hpp"
#include "unmodified_libraries/trial.hpp"

using namespace legacy_test;

namespace {

std::string get(int port) {
  httplib::Client client("127.0.0.1", port);
  client.set_read_timeout(60, 0);
  const httplib::Result result = client.Get("/page");
  if (!result) throw Failure(httplib::to_string(result.error()));
  return result->body;
}

}  // namespace

TEST_CASE("cpp-httplib: downloads") {
  const Nginx server;
  try_out({.library = "cpp-httplib",
           .version = CPPHTTPLIB_VERSION,
           .function = nullptr,
           .server = "nginx",
           .port = server.port(),
           .call = get,
           .answer = std::string(Nginx::kPageSize, 'p')});
}
