#include "monkey/support.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "support/child_process.hpp"

using namespace monkey_test;

namespace {

const monkey::Patched* find(const std::vector<monkey::Patched>& all, const std::string& part) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const monkey::Patched& one) {
    return one.object.find(part) != std::string::npos;
  });
  return found != all.end() ? &*found : nullptr;
}

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

TEST_CASE("patch_all patches the program and its libraries, and nothing twice; unpatch undoes it") {
  CHECK(monkey::patched().empty());
  CHECK(monkey::patch_all() > 10);
  CHECK(monkey::patch_all() == 0);
  const auto all = monkey::patched();
  CHECK(find(all, "monkey-patch_test") != nullptr);
  const monkey::Patched* library = find(all, "libmonkey_calls");
  REQUIRE(library != nullptr);
  CHECK(has(library->functions, "read"));
  CHECK(has(library->functions, "__poll_chk"));
  CHECK(find(all, "libc.so") == nullptr);
  CHECK(find(all, "ld-linux") == nullptr);
  monkey::unpatch();
  CHECK(monkey::patched().empty());
  // Calls go to libc again: in a task this would find nobody to write.
  asyncio::run([] {
    const Ends ends = socket_pair();
    CHECK(calls::write(ends.b, "x", 1) == 1);
    char byte;
    CHECK(calls::read(ends.a, &byte, 1) == 1);
  });
}

#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)  // whose runtime is a part of the program
TEST_CASE("calls of the program itself wait") {
  run([] {
    const Ends ends = socket_pair();
    const auto writer = start([&] { CHECK(::write(ends.b, "x", 1) == 1); });
    char byte = 0;
    CHECK(::read(ends.a, &byte, 1) == 1);
    await(writer);
  });
}
#endif

TEST_CASE("patch_library patches one object; one that is not loaded is an error") {
  CHECK_THROWS_WITH_AS(monkey::patch_library("libnothing.so.1"),
                       "cannot patch 'libnothing.so.1': no object of that name is loaded",
                       const fiber::ValueError&);
  const std::size_t count = monkey::patch_library("libstdc++.so.6");
  CHECK(count > 0);
  CHECK(monkey::patch_library("libstdc++.so.6") == 0);
  const auto all = monkey::patched();
  REQUIRE(all.size() == 1);
  CHECK(all[0].object.find("libstdc++") != std::string::npos);
  CHECK(has(all[0].functions, "nanosleep"));
  monkey::unpatch_library("libstdc++.so.6");
  CHECK(monkey::patched().empty());
  CHECK(monkey::patch_library("libstdc++.so.6") == count);
  monkey::unpatch();
}

TEST_CASE(
    "an object that is loaded later is patched by patching again, and forgotten when closed") {
  const Patch patch;
  void* library = ::dlopen("libresolv.so.2", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return;
  // It belongs to libc: by name alone.
  const std::size_t count = monkey::patch_library("libresolv.so.2");
  if (count > 0) CHECK(find(monkey::patched(), "libresolv") != nullptr);
  ::dlclose(library);
  CHECK(monkey::patch_all() == 0);
}

TEST_CASE("patchable names what there are replacements for") {
  const auto names = monkey::patchable();
  for (const char* name :
       {"read",       "write",          "readv",       "writev",        "recv",
        "recvfrom",   "recvmsg",        "recvmmsg",    "send",          "sendto",
        "sendmsg",    "sendmmsg",       "connect",     "accept",        "accept4",
        "close",      "poll",           "ppoll",       "select",        "pselect",
        "epoll_wait", "sleep",          "usleep",      "nanosleep",     "clock_nanosleep",
        "waitpid",    "wait",           "wait4",       "waitid",        "system",
        "flock",      "getaddrinfo",    "getnameinfo", "gethostbyname", "__read_chk",
        "__recv_chk", "__recvfrom_chk", "__poll_chk",  "__ppoll_chk"}) {
    INFO(name);
    CHECK(has(names, name));
  }
}

TEST_CASE("what the compiler calls with _FORTIFY_SOURCE waits too") {
  run([] {
    const Ends ends = socket_pair();
    const auto writer = start([&] {
      for (int i = 0; i < 4; ++i) {
        CHECK(calls::write(ends.b, "x", 1) == 1);
        await(asyncio::sleep(1ms));
      }
    });
    char byte[1];
    CHECK(calls::read_chk(ends.a, byte, 1, 1) == 1);
    CHECK(calls::recv_chk(ends.a, byte, 1, 1, 0) == 1);
    CHECK(calls::recvfrom_chk(ends.a, byte, 1, 1, 0, nullptr, nullptr) == 1);
    pollfd one{.fd = ends.a, .events = POLLIN, .revents = 0};
    CHECK(calls::poll_chk(&one, 1, -1, sizeof one) == 1);
    CHECK(calls::ppoll_chk(&one, 1, nullptr, nullptr, sizeof one) == 1);
    await(writer);
  });
}

TEST_CASE("a child that was forked in a task blocks as it would have") {
  run([] {
    const Ends ends = socket_pair();
    const auto reader = start([&] {
      char byte = 0;
      CHECK(calls::read(ends.a, &byte, 1) == 1);
      return byte;
    });
    await(asyncio::sleep(1ms));
    const Ends answer = pipe();
    const pid_t child = ::fork();
    if (child == 0) {
      // Closing here must not touch what the parent waits for.
      calls::close(ends.a);
      calls::usleep(1000);
      ::_exit(calls::write(answer.b, "c", 1) == 1 ? 0 : 1);
    }
    char byte = 0;
    CHECK(calls::read(answer.a, &byte, 1) == 1);
    int status = -1;
    CHECK(calls::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(!reader.done());
    CHECK(calls::write(ends.b, "p", 1) == 1);
    CHECK(await(reader) == 'p');
  });
}

TEST_CASE("patched calls in many tasks take one thread") {
  run([] {
    std::vector<asyncio::Task<void>> tasks;
    const int before = threads();
    for (int i = 0; i < 100; ++i)
      tasks.push_back(start([] {
        const Ends ends = socket_pair();
        const auto writer = start([&] {
          calls::usleep(1000);
          CHECK(calls::write(ends.b, "x", 1) == 1);
        });
        char byte = 0;
        CHECK(calls::read(ends.a, &byte, 1) == 1);
        await(writer);
      }));
    await(asyncio::gather(tasks));
    CHECK(threads() == before);
  });
}

TEST_CASE("each of two loops in two threads waits for itself") {
  const Patch patch;
  const Ends ends = socket_pair();
  std::thread other([&] {
    asyncio::run([&] {
      char byte = 0;
      CHECK(calls::read(ends.a, &byte, 1) == 1);
      CHECK(calls::write(ends.a, "y", 1) == 1);
    });
  });
  asyncio::run([&] {
    calls::usleep(1000);
    CHECK(calls::write(ends.b, "x", 1) == 1);
    char byte = 0;
    CHECK(calls::read(ends.b, &byte, 1) == 1);
    CHECK(byte == 'y');
  });
  other.join();
}
