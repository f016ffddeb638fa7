// libcurl's easy interface, unmodified, against nginx.
#include "unmodified_libraries/nginx.hpp"
#include "unmodified_libraries/patched.hpp"
#include "unmodified_libraries/trial.hpp"

#include <curl/curl.h>

#include <memory>

using namespace legacy_test;

namespace {

Nginx& server() {
  static Nginx nginx;
  return nginx;
}

struct Answer {
  CURLcode code = CURLE_OK;
  long status = 0;
  std::size_t size = 0;
};

// `lines` counts the received lines of the head.
Answer get(const std::string& url, long limit_ms = 0, int* lines = nullptr) {
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  Answer answer;
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, limit_ms);
  curl_easy_setopt(curl.get(), CURLOPT_HEADERDATA, lines);
  curl_easy_setopt(
      curl.get(), CURLOPT_HEADERFUNCTION,
      +[](char*, std::size_t size, std::size_t count, void* to) {
        if (to != nullptr) ++*static_cast<int*>(to);
        return size * count;
      });
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer);
  curl_easy_setopt(
      curl.get(), CURLOPT_WRITEFUNCTION, +[](char*, std::size_t size, std::size_t count, void* to) {
        static_cast<Answer*>(to)->size += size * count;
        return size * count;
      });
  answer.code = curl_easy_perform(curl.get());
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &answer.status);
  return answer;
}

}  // namespace

TEST_CASE("libcurl's easy interface: what is asked of every client") {
  try_out({.library = "libcurl (easy)",
           .version = curl_version_info(CURLVERSION_NOW)->version,
           .function = "curl_easy_init",
           .server = "nginx",
           .port = server().port(),
           .call =
               [](int port) {
                 const Answer answer = get("http://127.0.0.1:" + std::to_string(port) + "/page");
                 if (answer.code != CURLE_OK) throw Failure(curl_easy_strerror(answer.code));
                 return std::to_string(answer.size);
               },
           .answer = std::to_string(Nginx::kPageSize)});
}

TEST_CASE("100 slow downloads take the time of one, in one thread") {
  server();
  const PatchedLibrary patched("curl_easy_init");
  asyncio::run([] {
    const double took = at_once("libcurl easy", "a second's download", 100, [](int) {
      const Answer answer = get(server().url("/slow/page"));
      CHECK(answer.code == CURLE_OK);
      CHECK(answer.status == 200);
      CHECK(answer.size == 20'000);
    });
    CHECK(took < 50);  // one after another they take 100 s
  });
}

TEST_CASE("an error status, a time limit of libcurl, a cancelled task") {
  server();
  const PatchedLibrary patched("curl_easy_init");
  asyncio::run([] {
    const Answer missing = get(server().url("/nothing"));
    CHECK(missing.code == CURLE_HTTP_RETURNED_ERROR);
    CHECK(missing.status == 404);
    CHECK(get(server().url("/stuck/page"), 100).code == CURLE_OPERATION_TIMEDOUT);
    Answer answer;
    int lines = 0;
    const auto task =
        asyncio::create_task([&] { answer = get(server().url("/stuck/page"), 0, &lines); });
    until(lines);
    CHECK(cancel(task));
    CHECK(answer.code != CURLE_OK);
  });
}

TEST_CASE("a server that is killed in the middle gives libcurl's error") {
  server();
  const PatchedLibrary patched("curl_easy_init");
  asyncio::run([] {
    int lines = 0;
    const auto task =
        asyncio::create_task([&] { return get(server().url("/stuck/page"), 0, &lines); });
    until(lines);
    server().kill();
    const CURLcode code = await(task).code;
    CHECK((code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING));
    CHECK(get(server().url("/page")).code == CURLE_COULDNT_CONNECT);
  });
}
