// Only the authorities of the given bundle are trusted. The functions of OpenSSL that load
// authorities are replaced here, and record their arguments.
#include <fiber/aiohttp.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/requests.hpp>

#include "support/http_client.hpp"
#include "support/http_outcome.hpp"
#include "support/http_server.hpp"

#include <string>

#include <doctest/doctest.h>

namespace {

std::string loaded;  // "file A, directory B, "

int load(const char* kind, const char* path) {
  if (path) loaded += std::string(kind) + path + ", ";
  return 1;
}

}  // namespace

extern "C" {
#define FIBER_TEST_LOADER(name, ...)                                     \
  __attribute__((visibility("default"))) int name(__VA_ARGS__) noexcept; \
  int name(__VA_ARGS__) noexcept
FIBER_TEST_LOADER(SSL_CTX_load_verify_file, void*, const char* path) { return load("file ", path); }
FIBER_TEST_LOADER(SSL_CTX_load_verify_dir, void*, const char* path) {
  return load("directory ", path);
}
FIBER_TEST_LOADER(X509_STORE_load_file, void*, const char* path) { return load("file ", path); }
FIBER_TEST_LOADER(X509_STORE_load_path, void*, const char* path) {
  return load("directory ", path);
}
FIBER_TEST_LOADER(SSL_CTX_load_verify_locations, void*, const char* file, const char* directory) {
  return load("file ", file) & load("directory ", directory);
}
FIBER_TEST_LOADER(X509_STORE_load_locations, void*, const char* file, const char* directory) {
  return load("file ", file) & load("directory ", directory);
}
#undef FIBER_TEST_LOADER
}

TEST_CASE("a bundle that is named is trusted alone, whether it is a file or a directory") {
  support::HttpServer server;
  const std::string url = "https" + server.url("/fixed").substr(4);
  const auto trusted = [&](const std::string& bundle) {
    std::string both;
    loaded.clear();
    CHECK(support::with_requests(url, {.verify = bundle}) == "SSLError");
    both = loaded;
    loaded.clear();
    CHECK(support::with_aiohttp(url, {.ssl = bundle}) == "ClientSSLError");
    CHECK(loaded == both);
    return both;
  };
  CHECK(trusted("/dev/null") == "file /dev/null, ");
  CHECK(trusted("/dev") == "directory /dev, ");
}

TEST_CASE("`true` is the usual way, which the environment may change") {
  support::HttpServer server;
  const std::string url = "https" + server.url("/fixed").substr(4);
  const support::EnvironmentVariable bundle("REQUESTS_CA_BUNDLE", "/dev/null");
  loaded.clear();
  CHECK(support::with_requests(url, {.verify = true}) == "SSLError");
  CHECK(loaded == "file /dev/null, ");
}
