// The rules of downloads alone, without a network: names, ranges, the waits between tries.
#include <fiber/http/downloading.hpp>
#include <fiber/requests/download.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "support/folder.hpp"

namespace http = fiber::http;
namespace requests = fiber::requests;
using http::DownloadOptions;
using namespace std::chrono_literals;

namespace {

// A server that is always busy. The waits that it causes are noted.
class Busy final : public http::DownloadClient {
 public:
  Answer open(const http::Headers&) override { return {503}; }
  std::string next() override { return ""; }
  void close() noexcept override {}
  [[noreturn]] void refuse_status() override { throw fiber::RuntimeError("busy"); }
  [[noreturn]] void refuse(http::Failure failure) override {
    throw fiber::RuntimeError(failure.text);
  }
  bool may_be_mended() noexcept override { return false; }
  void pause(http::Seconds time) override { waits.push_back(time.count()); }
  void on_disk(std::function<void()> step) override { step(); }

  std::vector<double> waits;
};

struct Cancelled {};

// A client that is cancelled while a thread writes the first piece.
class CancelledOnDisk final : public http::DownloadClient {
 public:
  ~CancelledOnDisk() override { thread_.join(); }
  Answer open(const http::Headers&) override { return {200, {{"ETag", "\"v1\""}}}; }
  std::string next() override {
    reading_ = true;
    return "piece";
  }
  void close() noexcept override {}
  [[noreturn]] void refuse_status() override { throw fiber::RuntimeError("status"); }
  [[noreturn]] void refuse(http::Failure failure) override {
    throw fiber::RuntimeError(failure.text);
  }
  bool may_be_mended() noexcept override { return false; }
  void pause(http::Seconds) override {}
  void on_disk(std::function<void()> step) override {
    if (!reading_) return step();
    thread_ = std::thread(std::move(step));
    throw Cancelled();
  }

 private:
  bool reading_ = false;
  std::thread thread_;
};

std::vector<double> waits_of(DownloadOptions options) {
  const support::Folder directory;
  options.directory = directory.path();
  Busy client;
  CHECK_THROWS_AS(http::fetch_file(client, "http://h/file", options), fiber::RuntimeError);
  return client.waits;
}

}  // namespace

TEST_CASE("a random share of the delay is waited in addition, another one each time") {
  const std::vector<double> plain{10, 20, 30, 30, 30};
  CHECK(waits_of({.retry_delay = 10s, .retry_jitter = 0}) == plain);
  const std::vector<double> waits =
      waits_of({.max_retries = 50, .retry_delay = 10s, .retry_jitter = 0.25});
  REQUIRE(waits.size() == 50);
  std::set<double> different;
  for (std::size_t i = 0; i < waits.size(); ++i) {
    const double base = plain[std::min<std::size_t>(i, 2)];
    CHECK(waits[i] >= base);
    CHECK(waits[i] < base * 1.25);
    different.insert(waits[i]);
  }
  CHECK(different.size() >= 45);
  CHECK(waits_of({.max_retries = 3, .retry_delay = 100s, .retry_jitter = 0}) ==
        std::vector<double>{30, 30, 30});
  CHECK_THROWS_AS(requests::download("http://127.0.0.1:1/x", {.retry_jitter = -0.1}),
                  fiber::ValueError);
}

// ThreadSanitizer is the judge.
TEST_CASE("a cancelled download leaves its file to the thread that still writes to it") {
  const support::Folder directory;
  {
    CancelledOnDisk client;
    CHECK_THROWS_AS(http::fetch_file(client, "http://h/file", {.directory = directory.path()}),
                    Cancelled);
  }
  CHECK(directory.content(".file.part") == "piece");
}

TEST_CASE("file_name_of: names stay in their directory, are not hidden, and have a length") {
  CHECK(http::file_name_of("http://h/a/b.png?x=/c#/d") == "b.png");
  CHECK(http::file_name_of("http://h") == "download");
  CHECK(http::file_name_of("http://h/") == "download");
  CHECK(http::file_name_of("http://h/a/") == "download");
  CHECK(http::file_name_of("b.png") == "b.png");
  CHECK(http::file_name_of("http://h/%2e%2e%2f%2e%2e%2fetc%2fpasswd") == "_._.._etc_passwd");
  CHECK(http::file_name_of("http://h/..") == "_.");
  CHECK(http::file_name_of("http://h/.") == "download");
  CHECK(http::file_name_of("http://h/.bashrc") == "_bashrc");
  CHECK(http::file_name_of("http://h/a%00b%0Ac%1B[31m%5Cd") == "a_b_c_[31m_d");
  CHECK(http::file_name_of("http://h/%C3%A4%20b.txt") == "\xC3\xA4 b.txt");
  CHECK(http::file_name_of("http://h/%FF.txt") == "\xEF\xBF\xBD.txt");
  const std::string one = http::file_name_of("http://h/" + std::string(1000, 'a') + ".png");
  const std::string other = http::file_name_of("http://h/" + std::string(1001, 'a') + ".png");
  CHECK(one.size() == 200);
  CHECK(one.ends_with(".png"));
  CHECK(one != other);
  // 'ä' is two bytes, and is not cut in two.
  std::string umlauts = "http://h/";
  for (int i = 0; i < 500; ++i) umlauts += "%C3%A4";
  CHECK(http::file_name_of(umlauts).find("\xC3-") == std::string::npos);
}

TEST_CASE("Content-Range") {
  const auto shown = [](std::string_view field) -> std::string {
    const auto range = http::parse_content_range(field);
    if (!range) return "none";
    const auto number = [](const std::optional<std::uint64_t>& value) {
      return value ? std::to_string(*value) : "*";
    };
    return number(range->first) + "-" + number(range->last) + "/" + number(range->total);
  };
  CHECK(shown("bytes 0-4/5") == "0-4/5");
  CHECK(shown("Bytes 3-4/*") == "3-4/*");
  CHECK(shown("bytes */7") == "*-*/7");
  for (const char* bad :
       {"", "bytes", "bytes ", "bytes 0-4", "bytes 0-4/", "bytes 0-5/5", "bytes 4-3/9", "bytes */*",
        "bytes -4/5", "bytes 0-/5", "bytes +0-4/5", "bytes 0 - 4/5", "items 0-4/5", "bytes=0-4/5",
        "bytes 0-99999999999999999999/*", "bytes 0-18446744073709551615/*", "bytes 0x0-4/5"}) {
    CAPTURE(bad);
    CHECK(shown(bad) == "none");
  }
}
