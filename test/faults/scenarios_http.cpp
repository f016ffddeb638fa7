// HTTP clients. Their server runs in the parent, where nothing fails; OpenSSL's first use in a
// process is over.
#include "files.hpp"
#include "harness.hpp"

#include <fiber/aiohttp.hpp>
#include <fiber/aiohttp/download.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/requests.hpp>
#include <fiber/requests/download.hpp>

#include <chrono>

#include "support/aiohttp_session.hpp"
#include "support/http_client.hpp"
#include "support/http_server.hpp"

using namespace fiber;
using asyncio::await;
using faults::content_of;
using faults::folder;
using faults::require;

namespace {

support::HttpServer& server() {
  static support::HttpServer& the_server = *new support::HttpServer;
  return the_server;
}

// A file in two parts: the server ends the first connection in the middle.
constexpr std::size_t kFileSize = 30'000;

std::string file_url() { return server().url("/resumable/" + std::to_string(kFileSize)); }

http::DownloadOptions file_options() {
  return {.directory = folder().path(),
          .name = "file",
          .retry_delay = std::chrono::milliseconds(1),
          .progress = [](const http::DownloadProgress&) {}};
}

// The part of a file that a run with a fault has left is continued by the next run.
void check_file(const http::DownloadResult& result) {
  require(result.size == kFileSize, "the size of a file");
  require(content_of("file") == support::HttpServer::body(kFileSize), "the bytes of a file");
}

void download_once() {
  check_file(requests::download(file_url(), file_options()));
  support::with_session([](aiohttp::ClientSession& session) {
    check_file(await(aiohttp::download(session, file_url(), file_options())));
  });
}

void request_once() { static_cast<void>(requests::get(server().url("/fixed"))); }

}  // namespace

FAULTS_SCENARIO(requests_get, request_once) {
  const auto response =
      requests::get(server().url("/redirect/1"), {.timeout = std::chrono::seconds(20)});
  require(response.status_code == 200 && response.content == "hello", "a response");
  const auto bytes = requests::get(server().url("/bytes/50000"));
  require(bytes.content == support::HttpServer::body(50'000), "a body");
}

// With a time limit a name is looked up on a thread of its own.
FAULTS_SCENARIO(requests_look_up, request_once) {
  const std::string url = "http://localhost:" + std::to_string(server().port()) + "/fixed";
  const auto response = requests::get(url, {.timeout = std::chrono::seconds(20)});
  require(response.status_code == 200 && response.content == "hello", "a response");
}

FAULTS_SCENARIO(aiohttp_get, request_once) {
  support::with_session([](aiohttp::ClientSession& session) {
    asyncio::with(session.get(server().url("/redirect/1")), [](auto& response) {
      require(response.status == 200 && await(response.text()) == "hello", "a response");
    });
    // The tasks end before the session does.
    asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
      for (int i = 0; i < 3; ++i)
        (void)group.create_task([&] {
          auto response = await(session.get(server().url("/bytes/20000")));
          require(await(response.read()) == support::HttpServer::body(20'000), "a body");
        });
    });
  });
}

FAULTS_SCENARIO(requests_download, download_once) {
  check_file(requests::download(file_url(), file_options()));
}

FAULTS_SCENARIO(aiohttp_download, download_once) {
  support::with_session([](aiohttp::ClientSession& session) {
    check_file(await(aiohttp::download(session, file_url(), file_options())));
  });
}
