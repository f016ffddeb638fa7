// hiredis, unmodified, against Redis.
#include "unmodified_libraries/patched.hpp"
#include "unmodified_libraries/servers.hpp"
#include "unmodified_libraries/trial.hpp"

#include <hiredis/hiredis.h>

#include <memory>

using namespace legacy_test;

namespace {

class Redis : public Server {
 public:
  Redis() {
    command_ = {need_program("redis-server", "redis-server"),
                "--port",
                std::to_string(port_),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                directory_.path()};
    start();
  }
};

Redis& server() {
  static Redis redis;
  return redis;
}

using Reply = std::unique_ptr<redisReply, void (*)(void*)>;

struct Connection {
  explicit Connection(int port = server().port()) : redis(redisConnect("127.0.0.1", port)) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { redisFree(redis); }
  template <class... Args>
  Reply command(const char* format, Args... args) const {
    return {static_cast<redisReply*>(redisCommand(redis, format, args...)), freeReplyObject};
  }
  std::string error() const { return redis->errstr; }
  redisContext* redis;
};

}  // namespace

TEST_CASE("hiredis: what is asked of every client") {
  try_out({.library = "hiredis",
           .version = std::to_string(HIREDIS_MAJOR) + "." + std::to_string(HIREDIS_MINOR) + "." +
                      std::to_string(HIREDIS_PATCH),
           .function = "redisConnect",
           .server = "Redis",
           .port = server().port(),
           .call = [](int port) -> std::string {
             const Connection connection(port);
             const Reply reply = connection.command("ECHO hello");
             if (reply == nullptr) throw Failure(connection.error());
             return reply->str;
           },
           .answer = "hello"});
}

TEST_CASE("100 BLPOPs wait in one thread for a task that pushes") {
  server();
  const PatchedLibrary patched("redisConnect");
  asyncio::run([] {
    int waiting = 0;
    const auto producer = asyncio::create_task([&] {
      const Connection connection;
      while (waiting < 100) await(asyncio::sleep(1ms));
      await(asyncio::sleep(50ms));
      for (int i = 0; i < 100; ++i) {
        const Reply reply = connection.command("LPUSH list%d value%d", i, i);
        REQUIRE(reply != nullptr);
        CHECK(reply->integer == 1);
      }
    });
    const double took = at_once("hiredis", "BLPOP", 100, [&](int i) {
      const Connection connection;
      REQUIRE(connection.redis->err == 0);
      ++waiting;
      const Reply reply = connection.command("BLPOP list%d 60", i);
      REQUIRE(reply != nullptr);
      REQUIRE(reply->elements == 2);
      CHECK(std::string(reply->element[1]->str) == "value" + std::to_string(i));
    });
    CHECK(took < 50);
    await(producer);
  });
}

TEST_CASE("100 BLPOPs that find nothing take the time of one") {
  server();
  const PatchedLibrary patched("redisConnect");
  asyncio::run([] {
    const double took = at_once("hiredis", "BLPOP nothing 0.2", 100, [&](int) {
      const Connection connection;
      const Reply reply = connection.command("BLPOP nothing 0.2");
      REQUIRE(reply != nullptr);
      CHECK(reply->type == REDIS_REPLY_NIL);
    });
    CHECK(took >= 0.2);
    CHECK(took < 10);  // one after another they take 20 s
  });
}

TEST_CASE("a command that fails, and a time limit of the library") {
  server();
  const PatchedLibrary patched("redisConnect");
  asyncio::run([] {
    const Connection connection;
    CHECK(connection.command("SET text x") != nullptr);
    const Reply wrong = connection.command("LPUSH text y");
    REQUIRE(wrong != nullptr);
    CHECK(wrong->type == REDIS_REPLY_ERROR);
    CHECK(std::string(wrong->str).find("WRONGTYPE") == 0);
    REQUIRE(redisSetTimeout(connection.redis, {.tv_sec = 0, .tv_usec = 50'000}) == REDIS_OK);
    CHECK(connection.command("BLPOP nothing 60") == nullptr);
    CHECK(connection.redis->err == REDIS_ERR_IO);
    CHECK(connection.error() == "Resource temporarily unavailable");
  });
}

TEST_CASE("a cancelled task gets hiredis' error, then its CancelledError") {
  server();
  const PatchedLibrary patched("redisConnect");
  asyncio::run([] {
    std::string error;
    int waiting = 0;
    const auto task = asyncio::create_task([&] {
      const Connection connection;
      ++waiting;
      CHECK(connection.command("BLPOP nothing 60") == nullptr);
      error = connection.error();
    });
    until(waiting);
    CHECK(cancel(task));
    CHECK(error == "Operation canceled");
  });
}

TEST_CASE("a server that is killed in the middle gives hiredis' error") {
  server();
  const PatchedLibrary patched("redisConnect");
  asyncio::run([] {
    int waiting = 0;
    const auto task = asyncio::create_task([&] {
      const Connection connection;
      ++waiting;
      CHECK(connection.command("BLPOP nothing 60") == nullptr);
      return connection.redis->err;
    });
    until(waiting);
    server().kill();
    CHECK(await(task) == REDIS_ERR_EOF);
    const Connection refused;
    CHECK(refused.error() == "Connection refused");
  });
}
