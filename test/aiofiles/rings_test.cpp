// The mechanism that carries out the calls: its choice, the number of calls at a time, and its
// effect on the loop.
#include <fiber/aiofiles.hpp>
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/selectors.hpp>

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "support/events.hpp"
#include "support/folder.hpp"
#include "support/trace.hpp"

namespace aiofiles = fiber::aiofiles;
namespace asyncio = fiber::asyncio;
using namespace std::chrono_literals;
using asyncio::await;
using support::Folder;
using support::numbers;
using support::thrown_by;

namespace {

// A variable of the environment, for as long as this lives.
class Setting {
 public:
  explicit Setting(const char* value) {
    if (const char* old = std::getenv("FIBER_AIOFILES")) old_ = old;
    ::setenv("FIBER_AIOFILES", value, 1);
  }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;
  ~Setting() {
    if (old_.empty())
      ::unsetenv("FIBER_AIOFILES");
    else
      ::setenv("FIBER_AIOFILES", old_.c_str(), 1);
  }

 private:
  std::string old_;
};

std::string backend() {
  return asyncio::run([] { return aiofiles::backend(); });
}

}  // namespace

TEST_CASE("an environment variable chooses io_uring or threads") {
  const char* given = std::getenv("FIBER_AIOFILES");
  MESSAGE("calls are carried out by ", backend());
  if (given != nullptr && given == std::string("executor")) CHECK(backend() == "executor");
  {
    const Setting setting("executor");
    CHECK(backend() == "executor");
  }
  {
    const Setting setting("auto");
    CHECK((backend() == "io_uring" || backend() == "executor"));
  }
  {
    const Setting setting("io_uring");
    const std::string thrown = thrown_by([] { CHECK(backend() == "io_uring"); });
    if (!thrown.empty()) {
      MESSAGE("SKIP: this kernel or build has no io_uring: ", thrown);
      CHECK(thrown.find("io_uring is not available, but FIBER_AIOFILES asks for it") !=
            std::string::npos);
    }
  }
  const Setting setting("punch cards");
  CHECK(thrown_by(backend) ==
        "ValueError(\"FIBER_AIOFILES must be auto, io_uring or executor, not "
        "'punch cards'\")");
  CHECK(thrown_by([] { aiofiles::backend(); }) == "RuntimeError('no running event loop')");
}

TEST_CASE("a ring carries out more calls than it has room for") {
  const Folder folder;
  for (int i = 0; i < 10; ++i) folder.make(std::to_string(i), std::string(5000, char('a' + i)));
  asyncio::run([&] {
    std::vector<asyncio::Task<>> tasks;
    for (int i = 0; i < 1000; ++i)
      tasks.push_back(asyncio::create_task([&, i] {
        const std::string name = std::to_string(i % 10);
        CHECK(await(aiofiles::os::stat(folder / name)).st_size == 5000);
        CHECK(await(aiofiles::Path(folder / name).read_text()) ==
              std::string(5000, char('a' + i % 10)));
      }));
    await(asyncio::gather(tasks));
  });
}

TEST_CASE("a loop that has done with files watches nothing for them") {
  const Folder folder;
  asyncio::run([&] {
    const asyncio::EventLoop loop = asyncio::get_running_loop();
    const bool before = loop.object().selector().empty();
    await(aiofiles::Path(folder / "new").write_text(numbers(100'000)));
    CHECK(await(aiofiles::Path(folder / "new").read_text()) == numbers(100'000));
    await(aiofiles::os::unlink(folder / "new"));
    for (int i = 0; i < 3; ++i) await(asyncio::sleep(0));
    CHECK(loop.object().selector().empty() == before);
    CHECK(loop.object().outside_work.load() == 0);
  });
}

TEST_CASE("virtual time stands still while a file is waited for") {
  const Folder folder;
  support::run([&] {
    const auto timer = asyncio::create_task([] { await(asyncio::sleep(1h)); });
    for (int i = 0; i < 50; ++i) {
      await(aiofiles::Path(folder / "new").write_text("x"));
      await(aiofiles::os::unlink(folder / "new"));
    }
    CHECK_FALSE(timer.done());
    timer.cancel();
  });
}

TEST_CASE("each loop has a ring of its own, on whatever thread") {
  const Folder folder;
  folder.make("old", numbers(10'000));
  const auto read = [&] {
    return asyncio::run([&] { return await(aiofiles::Path(folder / "old").read_text()); });
  };
  for (int i = 0; i < 5; ++i) CHECK(read() == numbers(10'000));
  std::vector<std::string> results(4);
  std::vector<std::thread> threads;
  for (std::string& result : results) threads.emplace_back([&] { result = read(); });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& result : results) CHECK(result == numbers(10'000));
}

#if !defined(FIBER_TSAN)
TEST_CASE("a child process reads files in the loop that it has inherited") {
  const Folder folder;
  folder.make("old", "content");
  const asyncio::EventLoop loop = asyncio::new_event_loop();
  const auto read = [&] {
    return loop.run_until_complete(
        [&] { return await(aiofiles::Path(folder / "old").read_text()); });
  };
  // A child process has no threads: only a ring can be made anew there.
  const bool ring = loop.run_until_complete([] { return aiofiles::backend(); }) == "io_uring";
  if (ring) CHECK(read() == "content");
  const pid_t child = ::fork();
  if (child == 0) ::_exit(!ring || read() == "content" ? 42 : 1);
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 42);
  CHECK((!ring || read() == "content"));
  loop.close();
}
#endif
