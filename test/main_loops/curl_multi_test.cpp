// libcurl's multi interface around our loop, and inside of our loop: no loop spins, and no wake-up
// is lost.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <curl/curl.h>

#include "../samples/legacy/support/curl_guest.hpp"
#include "../samples/tutorial/support/image_server.hpp"
#include "support/cpu.hpp"
#include "support/hosts.hpp"

namespace asyncio = fiber::asyncio;
using namespace std::chrono_literals;
using asyncio::await;
using support::cpu_seconds;

namespace {

struct Curl {
  Curl() { curl_global_init(CURL_GLOBAL_DEFAULT); }
  Curl(const Curl&) = delete;
  Curl& operator=(const Curl&) = delete;
  ~Curl() { curl_global_cleanup(); }
};

struct Transfer {
  explicit Transfer(const std::string& url) {
    curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
    curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, this);
    curl_easy_setopt(
        curl.get(), CURLOPT_WRITEFUNCTION,
        +[](char*, std::size_t size, std::size_t count, void* to) {
          static_cast<Transfer*>(to)->bytes += size * count;
          return size * count;
        });
  }
  std::unique_ptr<CURL, void (*)(CURL*)> curl{curl_easy_init(), curl_easy_cleanup};
  std::size_t bytes = 0;
};

// A program built around curl_multi_poll.
class Host {
 public:
  Host() = default;
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;
  ~Host() {
    loop.close();
    curl_multi_cleanup(multi);
  }
  // Polls for a minute at a time: a lost wake-up would be a minute late.
  template <class Done>
  void run(Done done) {
    curl_waitfd ours{.fd = loop.fileno(), .events = CURL_WAIT_POLLIN, .revents = 0};
    for (int running = 0; !done(); ++turns) {
      REQUIRE(curl_multi_perform(multi, &running) == CURLM_OK);
      int ready = 0;
      ours.revents = 0;
      REQUIRE(curl_multi_poll(multi, &ours, 1, 60'000, &ready) == CURLM_OK);
      if (ours.revents != 0) loop.run_ready();
    }
  }

  CURLM* multi = curl_multi_init();
  asyncio::EventLoop loop = asyncio::new_event_loop();
  int turns = 0;
};

// Opens, before the first test case, the descriptors that GnuTLS, OpenSSL and libcurl keep.
const Curl curl;
[[maybe_unused]] const bool opened = [] {
  const Transfer transfer("http://127.0.0.1/");
  return true;
}();

}  // namespace

TEST_CASE("transfers inside our loop sleep while the server is silent, and end together") {
  const ImageServer server(300ms);
  const double before = cpu_seconds();
  int turns = 0;
  asyncio::run([&] {
    CurlGuest guest(asyncio::get_running_loop());
    std::vector<asyncio::Task<std::size_t>> transfers;
    for (const std::string& url : server.urls())
      transfers.push_back(asyncio::create_task([&guest, url] {
        Transfer transfer(url);
        CHECK(guest.perform(transfer.curl.get()) == CURLE_OK);
        return transfer.bytes;
      }));
    for (const std::size_t bytes : await(asyncio::gather(transfers))) CHECK(bytes == 147510);
    turns = guest.turns();
  });
  CHECK(turns >= 6);
  CHECK(turns <= 1000);  // spinning for 300 ms would make some ten thousand turns
  CHECK(cpu_seconds() - before < 1);
}

TEST_CASE("a cancelled task ends its transfer") {
  const ImageServer server(300ms);
  asyncio::run([&] {
    CurlGuest guest(asyncio::get_running_loop());
    Transfer transfer(server.urls().at(0));
    CHECK_THROWS_AS(
        await(asyncio::wait_for([&] { return guest.perform(transfer.curl.get()); }, 20ms)),
        const fiber::TimeoutError&);
    CHECK(transfer.bytes == 0);
  });
}

TEST_CASE("a loop inside curl_multi_poll sleeps while nothing is to do") {
  const ImageServer server(100ms);
  Host host;
  Transfer transfer(server.urls().at(0));
  curl_multi_add_handle(host.multi, transfer.curl.get());
  const auto task = host.loop.create_task([] {
    for (int i = 0; i < 20; ++i) await(asyncio::sleep(10ms));
  });
  const double before = cpu_seconds();
  host.run([&] { return task.done() && transfer.bytes == 147510; });
  CHECK(host.turns >= 20);
  CHECK(host.turns <= 400);
  CHECK(cpu_seconds() - before < 0.5);
  curl_multi_remove_handle(host.multi, transfer.curl.get());
}

TEST_CASE("calls of other threads reach a loop inside curl_multi_poll") {
  Host host;
  constexpr int kCalls = 1000;
  support::run_while_a_thread_calls(host.loop, kCalls, [&](auto done) { host.run(done); });
  CHECK(host.turns <= kCalls + 10);
}
