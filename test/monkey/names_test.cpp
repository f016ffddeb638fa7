#include "monkey/support.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <cstring>
#include <string>
#include <tuple>
#include <utility>

using namespace monkey_test;

TEST_CASE(
    "getaddrinfo of a name goes to a thread while other tasks run; of an address it does not") {
  Events say;
  run([&] {
    const int before = threads();
    addrinfo hints{};
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    CHECK(calls::getaddrinfo("127.0.0.1", "80", &hints, &list) == 0);
    ::freeaddrinfo(list);
    CHECK(threads() == before);
    const auto other = start([&] { say("other"); });
    REQUIRE(calls::getaddrinfo("localhost", "80", &hints, &list) == 0);
    say("found");
    CHECK(asyncio::SocketAddress::from_raw(list->ai_addr, list->ai_addrlen).host() == "127.0.0.1");
    ::freeaddrinfo(list);
    await(other);
    CHECK(calls::getaddrinfo("localhost", "no-such-service", &hints, &list) == EAI_SERVICE);
  });
  CHECK(say.take() == "other found");
}

TEST_CASE("getnameinfo") {
  Events say;
  run([&] {
    const asyncio::SocketAddress address("127.0.0.1", 80);
    char host[256] = "", service[32] = "";
    const auto other = start([&] { say("other"); });
    CHECK(calls::getnameinfo(address.data(), address.size(), host, sizeof host, service,
                             sizeof service, NI_NUMERICSERV) == 0);
    say("found");
    CHECK(std::string(host) != "");
    CHECK(std::string(service) == "80");
    CHECK(calls::getnameinfo(address.data(), address.size(), host, 2, nullptr, 0, 0) ==
          EAI_OVERFLOW);
    await(other);
  });
  CHECK(say.take() == "other found");
}

TEST_CASE("gethostbyname and its relatives point into memory of the caller's thread") {
  run([&] {
    const auto* entry = calls::gethostbyname("localhost");
    REQUIRE(entry != nullptr);
    CHECK(std::string(entry->h_name) != "");
    in_addr address{};
    std::memcpy(&address, entry->h_addr_list[0], sizeof address);
    CHECK(ntohl(address.s_addr) == INADDR_LOOPBACK);
    CHECK(entry->h_addr_list[1] == nullptr);

    hostent own{};
    hostent* result = nullptr;
    char memory[1024];
    int error = 0;
    CHECK(calls::gethostbyname_r("localhost", &own, memory, sizeof memory, &result, &error) == 0);
    REQUIRE(result == &own);
    CHECK(own.h_addr_list[0] >= memory);
    CHECK(own.h_addr_list[0] < memory + sizeof memory);
    CHECK(own.h_name >= memory);
    CHECK(own.h_name < memory + sizeof memory);
    char little[8];
    CHECK(calls::gethostbyname_r("localhost", &own, little, sizeof little, &result, &error) ==
          ERANGE);
    CHECK(result == nullptr);
    entry = calls::gethostbyaddr(&address, sizeof address, AF_INET);
    REQUIRE(entry != nullptr);
    CHECK(entry->h_length == 4);
  });
}

TEST_CASE("a name's text alone is written, and nothing behind it") {
  run([&] {
    const asyncio::SocketAddress address("127.0.0.1", 80);
    char host[256], service[32];
    std::memset(host, '#', sizeof host);
    std::memset(service, '#', sizeof service);
    REQUIRE(calls::getnameinfo(address.data(), address.size(), host, sizeof host, service,
                               sizeof service, NI_NUMERICSERV) == 0);
    CHECK(std::string(service) == "80");
    CHECK(host[std::strlen(host) + 1] == '#');
    CHECK(service[std::strlen(service) + 1] == '#');
  });
}

TEST_CASE("a look-up of an impossible address has libc's errno and h_errno") {
  const auto ask = [] {
    h_errno = errno = 0;
    CHECK(calls::gethostbyaddr("abc", 3, AF_INET) == nullptr);
    return std::pair(errno, h_errno);
  };
  const auto right = ask();
  CHECK(right.second == NETDB_INTERNAL);  // errno has the reason
  run([&] { CHECK(ask() == right); });
}

TEST_CASE("a look-up that fits no memory leaves ERANGE in errno, too") {
  const auto ask = [] {
    hostent entry{};
    hostent* result = nullptr;
    char little[8];
    int error = 0;
    errno = 0;
    const int told =
        calls::gethostbyname_r("localhost", &entry, little, sizeof little, &result, &error);
    return std::tuple(told, error, errno);
  };
  const auto right = ask();
  run([&] { CHECK(ask() == right); });
}

TEST_CASE("h_errno of before stays when an address is given for a name") {
  run([&] {
    h_errno = TRY_AGAIN;
    CHECK(calls::gethostbyname("127.0.0.1") != nullptr);
    CHECK(h_errno == TRY_AGAIN);
  });
}

TEST_CASE("a shielded look-up of a cancelled task has its answer, whenever that comes") {
  run([&] {
    for (int turns = 0; turns < 30; ++turns) {
      int result = -1;
      const auto task = start([&] {
        monkey::shield(60s, [&] {
          addrinfo* list = nullptr;
          result = calls::getaddrinfo("localhost", nullptr, nullptr, &list);
          if (result == 0) ::freeaddrinfo(list);
        });
      });
      for (int i = 0; i < turns; ++i) await(asyncio::sleep(0));
      task.cancel();
      await(asyncio::wait(std::vector{task}));
      CHECK((result == 0 || turns == 0));  // before its first turn there is nothing to be shielded
    }
  });
}

TEST_CASE("a cancelled getaddrinfo says so, and its late answer is freed") {
  run([&] {
    int result = 0, error = 0;
    const auto task = start([&] {
      addrinfo* list = nullptr;
      result = calls::getaddrinfo("localhost", nullptr, nullptr, &list);
      error = errno;
    });
    await(asyncio::sleep(0));
    task.cancel();
    await(asyncio::wait(std::vector{task}));
    // The answer may have been quicker than the cancellation.
    if (result != 0) {
      CHECK(result == EAI_SYSTEM);
      CHECK(error == ECANCELED);
    }
    CHECK(task.cancelled());
  });
}
