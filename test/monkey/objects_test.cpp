// Reports on objects: every unpatched import is listed.
#include <fiber/asyncio/selectors.hpp>
#include <fiber/monkey/blocking.hpp>

#include <dlfcn.h>
#include <elf.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "monkey/objects.hpp"
#include "monkey/support.hpp"
#include "support/child_process.hpp"
#include "support/descriptor.hpp"
#include "support/folder.hpp"

using namespace monkey_test;

namespace {

std::string bound_calls() {
  const char* root = std::getenv("FIBER_BUILD_ROOT");
  return std::string(root != nullptr ? root : ".") + "/test/libmonkey_bound_calls.so";
}

}  // namespace

TEST_CASE("a pointer that was copied before waits as well, and is put back") {
  calls::copy_pointers();
  {
    const Patch patch;
    const auto all = monkey::report();
    const auto* library = find(all, "libmonkey_calls");
    REQUIRE(library != nullptr);
#if defined(FIBER_ASAN) || defined(FIBER_TSAN)
    CHECK(library->copies.empty());  // a copy points to the sanitizer's function: unpatched
    return;
#endif
    CHECK(has(library->copies, "read"));
    asyncio::run([] {
      const Ends ends = socket_pair();
      const auto writer = start([&] { CHECK(calls::write(ends.b, "x", 1) == 1); });
      char byte = 0;
      CHECK(calls::read_by_copy(ends.a, &byte, 1) == 1);
      await(writer);
    });
  }
  const Ends ends = socket_pair();
  CHECK(calls::write(ends.b, "x", 1) == 1);
  char byte = 0;
  CHECK(calls::read_by_copy(ends.a, &byte, 1) == 1);
  const auto all = monkey::report();
  CHECK(find(all, "libmonkey_calls")->copies.empty());
}

TEST_CASE("an object that is loaded later is patched at once, unless that is not wanted") {
  const auto patched_after_loading = [] {
    void* library = calls::dlopen(bound_calls().c_str(), RTLD_NOW | RTLD_LOCAL);
    REQUIRE_MESSAGE(library != nullptr, ::dlerror());
    const auto all = monkey::report();
    const auto* object = find(all, "libmonkey_bound_calls");
    REQUIRE(object != nullptr);
    const bool patched = has(object->patched, "read");
    CHECK(has(object->unpatched, "read") == !patched);
    CHECK(object->left_alone.empty() == patched);
    ::dlclose(library);
    return patched;
  };
  monkey::patch_all();
  CHECK(patched_after_loading());
  monkey::unpatch();
  CHECK(!patched_after_loading());
  monkey::patch_all({.future = false});
  CHECK(!patched_after_loading());
  monkey::unpatch();
  CHECK(monkey::patch_library("libmonkey_bound_calls.so", {.future = true}) == 0);
  CHECK(patched_after_loading());
  CHECK(monkey::patched().empty());
  monkey::unpatch_library("libmonkey_bound_calls.so");
  CHECK(!patched_after_loading());
  monkey::unpatch();
}

TEST_CASE("an object keeps its policy until a call names another one") {
  const support::AtEnd undo([] { monkey::unpatch(); });
  const auto policy_of = [](std::string_view name) {
    for (const monkey::Patched& each : monkey::patched())
      if (each.object.ends_with(name)) return each.cancel;
    FAIL("not patched: ", name);
    return monkey::Cancel::error;
  };
  const auto load = [] {
    void* library = calls::dlopen(bound_calls().c_str(), RTLD_NOW | RTLD_LOCAL);
    REQUIRE_MESSAGE(library != nullptr, ::dlerror());
    return library;
  };
  monkey::patch_all();
  for (const monkey::Cancel policy : {monkey::Cancel::interrupt, monkey::Cancel::never}) {
    monkey::patch_library("libmonkey_calls.so", {.cancel = policy});
    ::dlclose(load());
    CHECK(policy_of("libmonkey_calls.so") == policy);
    monkey::patch_all();
    monkey::patch_library("libmonkey_calls.so");
    CHECK(policy_of("libmonkey_calls.so") == policy);
  }
  monkey::patch_all({.cancel = monkey::Cancel::error});
  CHECK(policy_of("libmonkey_calls.so") == monkey::Cancel::error);
  // The policy that an object was promised comes before that for all, in any order.
  for (const bool named_first : {true, false}) {
    monkey::unpatch();
    if (!named_first) monkey::patch_all();
    monkey::patch_library("libmonkey_bound_calls.so",
                          {.cancel = monkey::Cancel::interrupt, .future = true});
    if (named_first) monkey::patch_all();
    void* library = load();
    CHECK(policy_of("libmonkey_bound_calls.so") == monkey::Cancel::interrupt);
    ::dlclose(library);
  }
}

TEST_CASE("a pointer that was copied before follows a policy that is named later") {
#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)  // there copies are not patched
  calls::copy_pointers();
  const support::AtEnd undo([] { monkey::unpatch(); });
  monkey::patch_all();
  const auto error_of_cancelled_read = [] {
    int error = 0;
    asyncio::run([&] {
      const Ends ends = socket_pair();
      const auto task = asyncio::create_task([&] {
        char byte = 0;
        CHECK(calls::read_by_copy(ends.a, &byte, 1) == -1);
        error = errno;
      });
      await(asyncio::sleep(0ms));
      task.cancel();
      await(asyncio::wait(std::vector{task}));
    });
    return error;
  };
  CHECK(error_of_cancelled_read() == ECANCELED);
  monkey::patch_library("libmonkey_calls.so", {.cancel = monkey::Cancel::interrupt});
  CHECK(error_of_cancelled_read() == EINTR);
  monkey::patch_library("libmonkey_calls.so", {.cancel = monkey::Cancel::error});
  CHECK(error_of_cancelled_read() == ECANCELED);
#endif
}

TEST_CASE("names are matched whole: libc-calls is not libc, and libfiber-calls is not ours") {
  const std::filesystem::path directory =
      std::filesystem::temp_directory_path() / ("fiber-names-" + std::to_string(::getpid()));
  std::filesystem::create_directory(directory);
  const support::AtEnd remove([&] { std::filesystem::remove_all(directory); });
  std::vector<void*> loaded;
  for (const char* name : {"libc-calls.so.1", "libfiber-calls.so", "libm2.so", "ld-calls.so"}) {
    CAPTURE(name);
    std::filesystem::copy_file(bound_calls(), directory / name);
    loaded.push_back(::dlopen((directory / name).c_str(), RTLD_NOW | RTLD_LOCAL));
    REQUIRE_MESSAGE(loaded.back() != nullptr, ::dlerror());
    const Patch patch;
    const auto all = monkey::report();
    const auto* object = find(all, std::string("/") + name);
    REQUIRE(object != nullptr);
    CHECK(has(object->patched, "read"));
  }
  CHECK_THROWS_AS(monkey::patch_library("libc-calls"), fiber::ValueError);
  CHECK_THROWS_AS(monkey::patch_library("libm"), fiber::ValueError);
  CHECK(monkey::patch_library("libm2.so") > 10);
  CHECK(monkey::patched().size() == 1);
  monkey::unpatch();
  for (void* object : loaded) ::dlclose(object);
}

TEST_CASE(
    "report: what blocks and cannot be patched, with what to do; what was left alone, and why") {
  const Patch patch;
  const auto all = monkey::report();
  CHECK(std::is_sorted(all.begin(), all.end(),
                       [](const auto& a, const auto& b) { return a.object < b.object; }));
  const auto* libc = find(all, "libc.so");
  REQUIRE(libc != nullptr);
  CHECK(libc->left_alone == "a part of libc");
  CHECK(libc->patched.empty());
  const auto* runtime = find(all, "libstdc++");
  if (runtime != nullptr) {
    CHECK(has(runtime->patched, "poll"));
    CHECK(has(runtime->patched, "pthread_cond_wait"));
    CHECK(std::any_of(runtime->blocking.begin(), runtime->blocking.end(), [](const auto& call) {
      return call.function == "fwrite" && !call.advice.empty();
    }));
    const std::string text = monkey::str(*runtime);
    CHECK(text.find("pthread_cond_wait") != std::string::npos);
    CHECK(text.find("patched (error): ") != std::string::npos);
  }
  const auto* calls = find(all, "libmonkey_calls");
  REQUIRE(calls != nullptr);
  CHECK(has(calls->patched, "pause"));
  CHECK(std::any_of(calls->blocking.begin(), calls->blocking.end(),
                    [](const auto& call) { return call.function == "pause"; }));
  const std::string text = monkey::json(all);
  CHECK(text.starts_with("[{\"object\":\""));
  CHECK(text.ends_with("}]\n"));
}

TEST_CASE("every function that waits is patched or reported, in each of its spellings") {
  const auto names = monkey::patchable();
#if !defined(FIBER_TSAN)  // whose word of call_once has another layout
  CHECK(has(names, "call_once"));
#endif
  for (const char* name : {"__fgetws_chk",
                           "fgetwc_unlocked",
                           "fwscanf",
                           "__isoc99_fwscanf",
                           "vwscanf",
                           "__wuflow",
                           "getw",
                           "gets",
                           "__gets_chk",
                           "fflush_unlocked",
                           "fputc_unlocked",
                           "putw",
                           "fputwc",
                           "fputws",
                           "fwprintf",
                           "__fwprintf_chk",
                           "vwprintf",
                           "__woverflow",
                           "rewind",
                           "fseek",
                           "freopen",
                           "err",
                           "warnx",
                           "error",
                           "psignal",
                           "__xpg_sigpause",
                           "tcsetattr",
                           "sync_file_range",
                           "posix_fallocate",
                           "res_send",
                           "res_nsend",
                           "res_querydomain",
                           "getnetbyaddr",
                           "gethostent",
                           "getpw",
                           "lckpwdf",
                           "dlmopen",
                           "timer_settime",
                           "__longjmp_chk",
                           "GOMP_barrier",
                           "omp_set_lock",
                           "io_uring_submit_and_wait",
                           "aio_suspend",
                           "pthread_barrier_wait",
                           "sigsuspend",
                           "getaddrinfo_a"}) {
    INFO(std::string(name));
    CHECK((has(names, name) || !monkey::detail::advice_on(name, false).empty()));
  }
}

TEST_CASE("fiber-check reads programs, libraries and processes, and runs none of them") {
  const char* root = std::getenv("FIBER_BUILD_ROOT");
  const std::string directory = root != nullptr ? root : ".";
  const auto check = [&](std::vector<std::string> arguments) {
    return support::run_child(
        {.program = directory + "/fiber/tool/fiber-check", .arguments = std::move(arguments)});
  };
  const auto library = check({directory + "/test/libmonkey_calls.so"});
  CHECK(library.status == 0);
  CHECK(library.errors == "");
  CHECK(library.out().find("could be patched: ") != std::string::npos);
  CHECK(library.out().find("left alone: a part of libc") != std::string::npos);
  const auto process = check({"--json", std::to_string(::getpid())});
  CHECK(process.status == 0);
  CHECK(process.out().find("libmonkey_calls.so") != std::string::npos);
  CHECK(process.out().starts_with("[{\"object\":"));
  const auto nothing = check({"no-such-program"});
  CHECK(nothing.status == 1);
  CHECK(nothing.errors ==
        "fiber-check: there is no program, process or library 'no-such-program' to read\n");
  CHECK(check({}).status == 2);
  // A process that is there, but not for everybody.
  const auto first = check({"1"});
  if (first.status != 0) CHECK(first.errors == "fiber-check: process 1: Permission denied\n");
}

TEST_CASE("fiber-check does not run the linker that a file names, nor wait for a pipe") {
  const char* root = std::getenv("FIBER_BUILD_ROOT");
  const std::string program = std::string(root != nullptr ? root : ".") + "/fiber/tool/fiber-check";
  const support::Folder folder;
  // A program whose interpreter is a script of equal length.
  std::ifstream from(program, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(from)), {});
  constexpr std::string_view linker = "/ld-linux";
  const std::size_t at = bytes.find(linker);
  REQUIRE(at != std::string::npos);
  const std::size_t begin = bytes.rfind('\0', at) + 1;
  const std::size_t size = bytes.find('\0', at) - begin;
  std::string script = "/tmp/fiber-XXXXXX";
  support::Descriptor file(::mkstemp(script.data()));
  REQUIRE(script.size() <= size);
  const std::string text = "#!/bin/sh\ntouch " + (folder / "run") + "\n";
  REQUIRE(::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  ::fchmod(file, 0700);
  file.close();
  bytes.replace(begin, size, script + std::string(size - script.size(), '\0'));
  folder.make("program", bytes);
  const auto check = [&](const std::string& path) {
    return support::run_child({.program = program, .arguments = {path}}).status;
  };
  CHECK(check(folder / "program") == 0);
  CHECK(::access((folder / "run").c_str(), F_OK) != 0);
  ::unlink(script.c_str());
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  static_cast<void>(check(folder / "pipe"));
}

TEST_CASE("the tools say what is wrong with a file or an option, and how they are used") {
  const char* root = std::getenv("FIBER_BUILD_ROOT");
  const std::string directory = std::string(root != nullptr ? root : ".") + "/fiber/tool/";
  const support::Folder folder;
  const auto check = [&](const std::string& argument) {
    return support::run_child({.program = directory + "fiber-check", .arguments = {argument}});
  };
  std::ifstream from("/bin/sh", std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(from)), {});
  std::string foreign = whole;
  foreign[EI_DATA] = whole[EI_DATA] == ELFDATA2LSB ? ELFDATA2MSB : ELFDATA2LSB;
  const auto fault_of = [&](const std::string& bytes) {
    folder.make("file", bytes);
    const auto checked = check(folder / "file");
    CHECK(checked.status == 1);
    CHECK(checked.out() == "");
    const std::string begin = "fiber-check: '" + (folder / "file") + "' is ";
    CHECK(checked.errors.starts_with(begin));
    return checked.errors.substr(std::min(begin.size(), checked.errors.size()));
  };
  for (const std::size_t size :
       {std::size_t{5}, std::size_t{20}, std::size_t{100}, whole.size() / 2, whole.size() - 1}) {
    CAPTURE(size);
    CHECK(fault_of(whole.substr(0, size)) == "a truncated ELF file\n");
  }
  CHECK(fault_of(foreign) ==
        "not an object of this kind of processor: its byte order is different\n");
  CHECK(fault_of("#!/bin/sh\n") == "not an ELF file\n");
  CHECK(fault_of("") == "not an ELF file\n");
  const auto unknown = check("--xml");
  CHECK(unknown.status == 2);
  CHECK(unknown.errors == "fiber-check: there is no option '--xml': see fiber-check --help\n");
  for (const char* name : {"fiber-check", "fiber-run"}) {
    if (::access((directory + name).c_str(), X_OK) != 0) continue;  // not built with a sanitizer
    const auto help = support::run_child({.program = directory + name, .arguments = {"--help"}});
    CHECK(help.status == 0);
    CHECK(help.errors == "");
    CHECK(help.out().starts_with("usage: " + std::string(name)));
  }
}

TEST_CASE("output of the tools that does not arrive is a failure") {
  const char* root = std::getenv("FIBER_BUILD_ROOT");
  const std::string directory = std::string(root != nullptr ? root : ".") + "/fiber/tool/";
  for (const std::string command :
       {"fiber-check --help", "fiber-check sh", "fiber-check --json sh", "fiber-run --help"}) {
    CAPTURE(command);
    const std::string tool = command.substr(0, command.find(' '));
    if (::access((directory + tool).c_str(), X_OK) != 0) continue;  // not built with a sanitizer
    for (const auto& [output, error] : {std::pair{">&-", EBADF}, {">/dev/full", ENOSPC}}) {
      const auto result = support::run_child({.program = "/bin/sh",
                                              .arguments = {"-c", "./" + command + " " + output},
                                              .directory = directory});
      CHECK(result.status == (tool == "fiber-run" ? 125 : 1));
      CHECK(result.errors == tool + ": cannot write the output: " + std::strerror(error) + "\n");
    }
  }
}

TEST_CASE("the table of policies says which version was tried, and why") {
  for (const monkey::Policy& policy : monkey::policies()) {
    CAPTURE(policy.object);
    CHECK(policy.tried.find('.') != std::string::npos);
    CHECK(!policy.why.empty());
  }
}

TEST_CASE("dependencies are patched with what needs them") {
  CHECK(monkey::patch_library("libmonkey_calls.so", {.dependencies = true}) > 10);
  const auto all = monkey::report();
  CHECK(!find(all, "libmonkey_calls")->patched.empty());
  CHECK(find(all, "libc.so")->patched.empty());
  const auto* runtime = find(all, "libstdc++");
  if (runtime != nullptr) CHECK(!runtime->patched.empty());
  monkey::unpatch();
}

TEST_CASE("code that closes every descriptor leaves the loop its own") {
  const support::ChildResult child = support::run_child({.body = [] {
    const Patch patch;
    asyncio::run([] {
      const Ends before = socket_pair();
      const auto reader = start([&] {
        char byte;
        return calls::read(before.a, &byte, 1) == -1 ? errno : 0;
      });
      await(asyncio::sleep(1ms));
      calls::closefrom(3);
      if (await(reader) != EBADF) std::_Exit(1);
      const Ends ends = socket_pair();
      const auto writer = start([&] { static_cast<void>(calls::write(ends.b, "x", 1)); });
      char byte = 0;
      if (calls::read(ends.a, &byte, 1) != 1) std::_Exit(2);
      await(writer);
      await(asyncio::to_thread([] {}));
      std::_Exit(0);
    });
  }});
  CHECK(child.status == 0);
  CHECK(child.errors == "");
}

TEST_CASE("the loop leaves a number of its own to code that duplicates to it") {
  const support::ChildResult child = support::run_child({.body = [] {
    monkey::patch_all();
    asyncio::run([] {
      const Ends ends = socket_pair();
      const auto reader = start([&] {
        char byte = 0;
        return calls::read(ends.a, &byte, 1);
      });
      await(asyncio::sleep(1ms));
      const auto thread = asyncio::create_task([] { await(asyncio::to_thread([] {})); });
      for (int fd = 3; fd < 40; ++fd)
        if (fd != ends.a && fd != ends.b && calls::dup2(ends.b, fd) != fd) std::_Exit(1);
      await(thread);
      for (int fd = 3; fd < 40; ++fd)
        if (fd != ends.a && ::write(fd, "x", 1) != 1) std::_Exit(2);
      if (await(reader) != 1) std::_Exit(3);
      await(asyncio::to_thread([] {}));
      // There is no other number: the loop keeps its descriptor.
      int number = 40;
      while (!asyncio::detail::Selector::is_own(number)) ++number;
      const rlimit few{static_cast<rlim_t>(number) + 1, static_cast<rlim_t>(number) + 1};
      ::setrlimit(RLIMIT_NOFILE, &few);
      while (::dup(ends.a) >= 0) {
      }
      while (!asyncio::detail::Selector::is_own(number)) --number;
      if (calls::dup2(ends.b, number) != -1 || errno != EMFILE) std::_Exit(4);
      await(asyncio::sleep(1ms));
      std::_Exit(0);
    });
  }});
  CHECK(child.status == 0);
  CHECK(child.errors == "");
}

TEST_CASE("a loop whose descriptors stand for other files says so and goes on") {
  const support::ChildResult child = support::run_child({.body = [] {
    asyncio::run([] {
      await(asyncio::sleep(1ms));
      const int nothing = ::open("/dev/null", O_WRONLY);
      for (int fd = 3; fd < 40; ++fd)
        if (fd != nothing) ::dup2(nothing, fd);
      await(asyncio::sleep(1ms));
      await(asyncio::to_thread([] {}));
      // Another epoll, whose events are not the loop's.
      const int other = ::epoll_create1(0);
      const int ready = ::eventfd(1, 0);
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u64 = 0x7fffffff;
      ::epoll_ctl(other, EPOLL_CTL_ADD, ready, &event);
      for (int fd = 40; fd < 60; ++fd)
        if (asyncio::detail::Selector::is_own(fd)) ::dup2(other, fd);
      for (int i = 0; i < 10; ++i) await(asyncio::sleep(1ms));
      std::_Exit(0);
    });
  }});
  CHECK(child.status == 0);
  CHECK(child.errors.find("the loop goes on with new ones") != std::string::npos);
}

TEST_CASE("a loop whose descriptors are closed by others says so and goes on") {
  const support::ChildResult child = support::run_child({.body = [] {
    asyncio::run([] {
      await(asyncio::sleep(1ms));
      for (int fd = 3; fd < 100; ++fd) ::close(fd);
      await(asyncio::sleep(1ms));
      await(asyncio::to_thread([] {}));
      std::_Exit(0);
    });
  }});
  CHECK(child.status == 0);
  CHECK(child.errors.find("the loop goes on with new ones") != std::string::npos);
}

TEST_CASE("a loop whose descriptors are closed by others waits at once for what there is") {
  for (const bool reuses_numbers : {false, true}) {
    CAPTURE(reuses_numbers);
    const support::ChildResult child = support::run_child({.body = [reuses_numbers] {
      asyncio::run([reuses_numbers] {
        await(asyncio::sleep(1ms));
        int ends[2];
        if (!reuses_numbers && ::pipe(ends) != 0) std::_Exit(1);
        for (int fd = 3; fd < 100; ++fd)
          if (asyncio::detail::Selector::is_own(fd)) ::close(fd);
        if (reuses_numbers && ::pipe(ends) != 0) std::_Exit(1);
        bool readable = false;
        asyncio::get_running_loop().add_reader(ends[0], [&] { readable = true; });
        if (::write(ends[1], "x", 1) != 1) std::_Exit(2);
        while (!readable) await(asyncio::sleep(1ms));
        std::_Exit(0);
      });
    }});
    CHECK(child.status == 0);
    CHECK(child.errors.find("the loop goes on with new ones") != std::string::npos);
  }
}

TEST_CASE("threads that the library starts leave signals to the program") {
  const support::ChildResult child = support::run_child({.body = [] {
    asyncio::run([] {
      await(asyncio::to_thread([] {}));
      sigset_t set;
      ::sigemptyset(&set);
      ::sigaddset(&set, SIGUSR1);
      ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
      ::kill(::getpid(), SIGUSR1);
      int got = 0;
      ::sigwait(&set, &got);
      std::_Exit(got == SIGUSR1 ? 0 : 1);
    });
  }});
  CHECK(child.status == 0);
}
