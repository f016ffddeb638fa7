#include <fiber/fiber.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <sys/wait.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "monkey/objects.hpp"
#include "monkey/support.hpp"
#include "support/child_process.hpp"

using namespace monkey_test;

namespace {}  // namespace

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
  // Calls go to libc again: a blocking read in a task would never return.
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
  // Objects without a name of their own, as the program, are not what an empty name means.
  for (const bool future : {false, true})
    CHECK_THROWS_WITH_AS(monkey::patch_library("", {.future = future}),
                         "cannot patch an object whose name is empty", const fiber::ValueError&);
  CHECK(monkey::patched().empty());
  const std::size_t count = monkey::patch_library("libstdc++.so.6");
  CHECK(count > 0);
  monkey::unpatch_library("");
  CHECK(monkey::patched().size() == 1);
  CHECK(monkey::patch_library("libstdc++.so.6") == 0);
  const auto all = monkey::patched();
  REQUIRE(all.size() == 1);
  CHECK(all[0].object.find("libstdc++") != std::string::npos);
  CHECK(has(all[0].functions, "nanosleep"));
  monkey::unpatch_library("libstdc++.so.6");
  CHECK(monkey::patched().empty());
  CHECK(monkey::patch_library("libstdc++.so.6") == count);
  monkey::unpatch();
  // By any path to its file.
  const std::string path = all[0].object;
  const std::string other = path.substr(0, path.rfind('/')) + "/." + path.substr(path.rfind('/'));
  CHECK(monkey::patch_library(path) == count);
  monkey::unpatch_library(other);
  CHECK(monkey::patched().empty());
  CHECK(monkey::patch_library(other) == count);
  monkey::unpatch();
}

namespace {

// Returns the protections of the part of an object that the linker makes read-only: "r--p", "r--p".
std::string relro_of(const std::string& object) {
  struct Search {
    const std::string& object;
    std::uintptr_t begin = 0, end = 0;
  } search{object};
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* to) {
        auto& its = *static_cast<Search*>(to);
        if (std::string(info->dlpi_name).ends_with(its.object))
          for (int i = 0; i < info->dlpi_phnum; ++i)
            if (const auto& segment = info->dlpi_phdr[i]; segment.p_type == PT_GNU_RELRO) {
              its.begin = info->dlpi_addr + segment.p_vaddr;
              its.end = its.begin + segment.p_memsz;
            }
        return 0;
      },
      &search);
  Events found;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0, end = 0;
    char rights[5] = "";
    std::sscanf(line.c_str(), "%zx-%zx %4s", &begin, &end, rights);
    if (begin < search.end && end > search.begin && end <= (search.end | 0xfff) + 1) found(rights);
  }
  return found.take();
}

}  // namespace

TEST_CASE("an object whose table is read-only (RELRO) is patched, and stays read-only") {
  const char* root = std::getenv("FIBER_BUILD_ROOT");
  const std::string path =
      std::string(root != nullptr ? root : ".") + "/test/libmonkey_bound_calls.so";
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  REQUIRE_MESSAGE(library != nullptr, path);
  ssize_t (*read)(int, void*, std::size_t) = nullptr;
  *reinterpret_cast<void**>(&read) = ::dlsym(library, "_ZN5calls4readEiPvm");
  REQUIRE(static_cast<bool>(read));
  const std::string before = relro_of("libmonkey_bound_calls.so");
  CHECK(before.find("r--p") != std::string::npos);
  CHECK(before.find('w') == std::string::npos);
  CHECK(monkey::patch_library("libmonkey_bound_calls.so") > 10);
  CHECK(relro_of("libmonkey_bound_calls.so") == before);
  asyncio::run([&] {
    const Ends ends = socket_pair();
    const auto writer = start([&] { CHECK(calls::write(ends.b, "x", 1) == 1); });
    char byte = 0;
    CHECK(read(ends.a, &byte, 1) == 1);
    await(writer);
  });
  monkey::unpatch();
  CHECK(relro_of("libmonkey_bound_calls.so") == before);
  ::dlclose(library);
}

TEST_CASE("calls that wait while everything is put back end as patched ones") {
  run([] {
    const Ends ends = socket_pair();
    const auto reader = start([&] {
      char byte = 0;
      CHECK(calls::read(ends.a, &byte, 1) == 1);
      return byte;
    });
    await(asyncio::sleep(1ms));
    monkey::unpatch();
    CHECK(calls::write(ends.b, "x", 1) == 1);
    CHECK(await(reader) == 'x');
  });
}

TEST_CASE(
    "an object that is loaded later is patched by patching again, and forgotten when closed") {
  const Patch patch;
  void* library = ::dlopen("libresolv.so.2", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return;
  // A part of libc can be patched only by its name.
  const std::size_t count = monkey::patch_library("libresolv.so.2");
  if (count > 0) CHECK(find(monkey::patched(), "libresolv") != nullptr);
  ::dlclose(library);
  CHECK(monkey::patch_all() == 0);
}

TEST_CASE("patchable names the functions that have replacements") {
  const auto names = monkey::patchable();
  for (const char* name :
       {"read",         "write",          "readv",       "writev",        "recv",
        "recvfrom",     "recvmsg",        "recvmmsg",    "send",          "sendto",
        "sendmsg",      "sendmmsg",       "connect",     "accept",        "accept4",
        "close",        "poll",           "ppoll",       "select",        "pselect",
        "epoll_wait",   "sleep",          "usleep",      "nanosleep",     "clock_nanosleep",
        "waitpid",      "wait",           "wait4",       "waitid",        "system",
        "flock",        "lockf",          "fcntl",       "sendfile",      "splice",
        "tee",          "vmsplice",       "sigwait",     "sigtimedwait",  "mq_send",
        "mq_receive",   "msgsnd",         "msgrcv",      "semop",         "eventfd_read",
        "epoll_pwait2", "getaddrinfo",    "getnameinfo", "gethostbyname", "__read_chk",
        "__recv_chk",   "__recvfrom_chk", "__poll_chk",  "__ppoll_chk",   "pread",
        "pwrite",       "fsync",          "fdatasync",   "fgets",         "getline",
        "fread",        "pclose",         "sem_wait",    "pthread_join",  "pthread_cond_wait"}) {
    INFO(name);
    CHECK(has(names, name));
  }
}

TEST_CASE("functions that the compiler calls with _FORTIFY_SOURCE wait, too") {
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
      // Closing in the child must not affect the parent's waits.
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

TEST_CASE("streams, subprocesses and executors of asyncio do in a patched program what they did") {
  run([] {
    const auto server = await(asyncio::start_server(
        [](auto& reader, auto& writer) {
          writer.write(await(reader.readline()));
          writer.close();
          await(writer.wait_closed());
        },
        "127.0.0.1", 0));
    const int port = server.sockets().at(0).port();
    const auto echo = [port](const std::string& line) {
      auto [reader, writer] = await(asyncio::open_connection("127.0.0.1", port));
      writer.write(line);
      std::string answer = await(reader.readline());
      writer.close();
      await(writer.wait_closed());
      return answer;
    };
    const auto [stream, process, thread] =
        await(asyncio::gather([&] { return echo("hello\n"); },
                              [] {
                                const auto child = await(asyncio::create_subprocess_exec(
                                    {"cat"}, {.stdin_ = asyncio::subprocess::PIPE,
                                              .stdout_ = asyncio::subprocess::PIPE}));
                                return await(child.communicate("through cat")).first;
                              },
                              [] {
                                return await(asyncio::to_thread([] {
                                  calls::usleep(1000);
                                  return 42;
                                }));
                              }));
    CHECK(stream == "hello\n");
    CHECK(process == "through cat");
    CHECK(thread == 42);
    server.close();
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

TEST_CASE("C programs patch, choose policies and read the report") {
  std::size_t count = 0;
  fiber_patch_options options{};
  options.size = sizeof options;
  options.cancel = FIBER_CANCEL_NEVER;
  CHECK(fiber_patch_library("libmonkey_calls.so", &options, &count) == FIBER_OK);
  CHECK(count > 10);
  REQUIRE(monkey::patched().size() == 1);
  CHECK(monkey::patched()[0].cancel == monkey::Cancel::never);
  CHECK(fiber_patch_library("libnothing.so.1", nullptr, &count) == FIBER_INVALID);
  CHECK(count == 0);
  CHECK(std::string(fiber_last_error()).find("libnothing.so.1") != std::string::npos);
  options.cancel = 17;
  CHECK(fiber_patch_all(&options, nullptr) == FIBER_INVALID);
  CHECK(fiber_patch_grace(0) == FIBER_BAD_STATE);
  char* text = fiber_patch_report();
  REQUIRE(text != nullptr);
  CHECK(std::string(text) == monkey::json(monkey::report()));
  std::free(text);
  fiber_unpatch_library("libmonkey_calls.so");
  CHECK(monkey::patched().empty());
  CHECK(fiber_patch_all(nullptr, &count) == FIBER_OK);
  CHECK(count > 10);
  fiber_unpatch();
  CHECK(monkey::patched().empty());
}

TEST_CASE("a path that is not UTF-8 is told in JSON as Python tells it") {
  const std::string text = monkey::json({{.object = "/\xff\xc3\xa9\xe2\x82\n\""}});
  CHECK(text.starts_with("[{\"object\":\"/\\udcff\xc3\xa9\\udce2\\udc82\\u000a\\\"\","));
}

TEST_CASE("the size of options for patching ends after a member; unknown members are zero") {
  struct Later {
    fiber_patch_options known;
    std::uint64_t more[2];
  };
  Later options{};
  const auto patched_with = [&](std::size_t size) {
    options.known.size = size;
    const int status = fiber_patch_library("libmonkey_calls.so", &options.known, nullptr);
    fiber_unpatch();
    return status;
  };
  std::vector<std::size_t> sizes;
  for (std::size_t size = 0; size <= sizeof options; ++size)
    if (patched_with(size) == FIBER_OK) sizes.push_back(size);
  constexpr std::size_t kFirst = sizeof(std::size_t);
  CHECK(sizes == std::vector<std::size_t>{kFirst, kFirst + 4, kFirst + 8, kFirst + 12,
                                          sizeof options.known, sizeof options.known + 8,
                                          sizeof options});
  options.more[1] = 1;
  CHECK(patched_with(sizeof options) == FIBER_INVALID);
  CHECK(std::string(fiber_last_error()).find("must be zero") != std::string::npos);
  CHECK(patched_with(static_cast<std::size_t>(-1)) == FIBER_INVALID);
  CHECK(std::string(fiber_last_error()).find("sizeof") != std::string::npos);
}
