// Ten thousand connections that never send, or never end what they have begun. As many of them as
// the limit of descriptors allows; both ends are of this process.
#include <fiber/aiohttp/test_utils.hpp>
#include <fiber/aiohttp/web.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/config.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/allocations.hpp"
#include "support/valgrind.hpp"
#include "support/web_peer.hpp"

namespace asyncio = fiber::asyncio;
namespace web = fiber::aiohttp::web;
using asyncio::await;
using fiber::aiohttp::test_utils::TestClient;
using support::first_line;
using support::Peer;
using namespace std::chrono_literals;

namespace {

// Lets this process have as many descriptors as it may, and says how many connections that makes.
class Descriptors {
 public:
  Descriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit most = before_;
    most.rlim_cur = before_.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &most);
    ::getrlimit(RLIMIT_NOFILE, &most);
    constexpr rlim_t others = 200, crowd = 10'000;
    const rlim_t ends = most.rlim_cur > others ? most.rlim_cur - others : 0;
    connections_ = static_cast<std::size_t>(std::min(crowd, ends / 2));
  }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;
  ~Descriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  std::size_t connections() const { return connections_; }

 private:
  rlimit before_{};
  std::size_t connections_ = 0;
};

class Crowd {
 public:
  explicit Crowd(const TestClient& client) : client_(client) {}

  void grow(std::size_t count) {
    peers_.reserve(count);
    while (peers_.size() < count) {
      peers_.push_back(std::make_unique<support::SilentPeer>(client_));
      // The queue of the listener is short.
      if (peers_.size() % 50 == 0) await(asyncio::sleep(1ms));
    }
    await(asyncio::sleep(10ms));
  }
  void say(std::string_view text) {
    for (const auto& peer : peers_)
      REQUIRE(::send(peer->fd(), text.data(), text.size(), MSG_NOSIGNAL) ==
              static_cast<ssize_t>(text.size()));
    await(asyncio::sleep(10ms));
  }
  // How many the server has closed, after this answer.
  std::size_t ended(std::string_view with_answer) {
    std::size_t count = 0;
    std::string got(1000, '\0');
    for (const auto& peer : peers_) {
      const int fd = peer->fd();
      const ssize_t size = ::recv(fd, got.data(), got.size(), MSG_DONTWAIT);
      if (size < 0) continue;
      const std::string_view text(got.data(), static_cast<std::size_t>(size));
      if (text.substr(0, text.find('\r')) != with_answer) continue;
      if (size == 0 || ::recv(fd, got.data(), got.size(), MSG_DONTWAIT) == 0) ++count;
    }
    return count;
  }

 private:
  const TestClient& client_;
  std::vector<std::unique_ptr<support::SilentPeer>> peers_;
};

// Bytes of memory that this process has touched.
std::size_t resident() {
  std::size_t size = 0, pages = 0;
  std::ifstream("/proc/self/statm") >> size >> pages;
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

void check_memory(std::size_t live_before, [[maybe_unused]] std::size_t resident_before,
                  std::size_t count) {
  if (!support::allocations_are_counted()) return;
  CHECK((support::allocations.live - live_before) / count < std::size_t{8} * 1024);
#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)
  CHECK((resident() - std::min(resident_before, resident())) / count < std::size_t{24} * 1024);
#endif
}

}  // namespace

// Valgrind is too slow for thousands of connections, and counts memory of its own.
TEST_CASE("connections that never send cost little, are closed, and are in nobody's way" *
          doctest::skip(support::on_valgrind())) {
  const Descriptors descriptors;
#if defined(FIBER_TSAN) || defined(FIBER_ASAN)  // one has a limit of its own, both are slow
  const std::size_t count = std::min<std::size_t>(descriptors.connections(), 1000);
#else
  const std::size_t count = descriptors.connections();
#endif
  if (count < 100) {
    MESSAGE("SKIP: the limit of open files (RLIMIT_NOFILE) is too low for a crowd");
    return;
  }
  std::string begun, answer;
  SUBCASE("nothing is sent") {}
  SUBCASE("a head is begun") {
    begun = "GET / HTTP/1.1\r\nHost:";
    answer = "HTTP/1.1 408 Request Timeout";
  }
  web::Application app;
  app.router().add_get("/", [](web::Request&) { return web::Response({.text = "ok"}); });
  web::ServerOptions options;
  options.max_connections = count + 1;  // the client has one
  support::with_app(
      app,
      [&](TestClient& client) {
        CHECK(await(client.get("/")).text() == "ok");
        Crowd crowd(client);
        const std::size_t live = support::allocations.live, touched = resident();
        crowd.grow(count);
        if (!begun.empty()) crowd.say(begun);
        check_memory(live, touched, count);
        CHECK(await(client.get("/")).text() == "ok");
        CHECK(first_line(Peer(client).rest()) == "HTTP/1.1 503 Service Unavailable");
        await(asyncio::sleep(59s));
        CHECK(crowd.ended(answer) == 0);
        CHECK(await(client.get("/")).text() == "ok");
        await(asyncio::sleep(2s));
        CHECK(crowd.ended(answer) == count);
        CHECK(await(client.get("/")).text() == "ok");
        CHECK(first_line(Peer(client).rest()).empty());
      },
      options);
}
