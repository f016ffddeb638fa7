#include <fiber/aiofiles.hpp>
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include <sys/stat.h>

#include "support/events.hpp"
#include "support/folder.hpp"

namespace aiofiles = fiber::aiofiles;
namespace asyncio = fiber::asyncio;
using asyncio::await;
using support::Folder;
using support::numbers;
using support::thrown_by;

namespace {

// Begins a call and takes it back while it is under way.
template <class F>
void begin_and_cancel(F call) {
  const auto task = asyncio::create_task(std::move(call));
  await(asyncio::sleep(0));
  CHECK(task.cancel());
  CHECK_THROWS_AS(await(task), asyncio::CancelledError);
}

}  // namespace

TEST_CASE("a read that is cancelled has read nothing") {
  const Folder folder;
  folder.make("old", numbers(100'000));
  asyncio::run([&] {
    const auto file = await(aiofiles::open(folder / "old", "r", {.buffering = 0}));
    await(file.read(10));
    begin_and_cancel([&] { await(file.read(50'000)); });
    CHECK(await(file.tell()) == 10);
    begin_and_cancel([&] { await(file.read()); });
    CHECK(await(file.read()) == numbers(100'000).substr(10));
    await(file.seek(0));
    begin_and_cancel([&] { await(file.readline()); });
    CHECK(await(file.readline()) == "0\n");
    await(file.close());
  });
}

TEST_CASE("a write that is cancelled has taken its data, and those after it wait for its end") {
  const Folder folder;
  const std::string much = numbers(5'000'000);
  asyncio::run([&] {
    const auto file = await(aiofiles::open(folder / "new", "w"));
    begin_and_cancel([&] { await(file.write(much)); });
    await(file.write("end"));
    await(file.close());
  });
  CHECK(folder.content("new") == much + "end");
}

TEST_CASE("the file of a write that is cancelled may be dropped meanwhile") {
  const Folder folder;
  const std::string much = numbers(5'000'000);
  asyncio::run([&] {
    begin_and_cancel([&] { await(await(aiofiles::open(folder / "new", "w")).write(much)); });
  });
  const std::string found = folder.content("new");
  CHECK(much.starts_with(found));  // the task may have been cancelled in open()
}

TEST_CASE("close() closes the file even if it is cancelled") {
  const Folder folder;
  asyncio::run([&] {
    const auto file = await(aiofiles::open(folder / "new", "w"));
    await(file.write("data"));
    begin_and_cancel([&] { await(file.close()); });
    CHECK(file.closed());
    await(file.close());
  });
  CHECK(folder.content("new") == "data");
}

TEST_CASE("a call that is cancelled while it waits for its turn leaves the line") {
  const Folder folder;
  folder.make("old", numbers(1000));
  asyncio::run([&] {
    const auto file = await(aiofiles::open(folder / "old", "r", {.buffering = 0}));
    const auto first = asyncio::create_task([&] { return await(file.read(10)); });
    const auto second = asyncio::create_task([&] { return await(file.read(10)); });
    const auto third = asyncio::create_task([&] { return await(file.read(10)); });
    await(asyncio::sleep(0));
    second.cancel();
    CHECK(await(first) == numbers(1000).substr(0, 10));
    CHECK(await(third) == numbers(1000).substr(10, 10));
    CHECK_THROWS_AS(await(second), asyncio::CancelledError);
    await(file.close());
  });
}

TEST_CASE("calls that are cancelled at random leave nothing, and break nothing") {
  const Folder folder;
  const std::string text = numbers(200'000);
  folder.make("old", text);
  const unsigned seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937 random(seed);
  asyncio::run([&] {
    for (int round = 0; round < 40; ++round) {
      const auto file = await(aiofiles::open(folder / "old", "r", {.buffering = 512}));
      std::string seen;
      std::vector<asyncio::Task<>> tasks;
      for (int i = 0; i < 8; ++i) {
        const auto size = static_cast<std::ptrdiff_t>(random() % 3000 + 1);
        tasks.push_back(asyncio::create_task([&, size] { seen += await(file.read(size)); }));
        tasks.push_back(asyncio::create_task([&] {
          const auto other = await(aiofiles::open(folder / "old"));
          CHECK(await(other.read()) == text);
        }));
      }
      for (unsigned steps = random() % 6; steps > 0; --steps) await(asyncio::sleep(0));
      for (const auto& task : tasks)
        if (random() % 2 == 0) task.cancel();
      await(asyncio::gather(asyncio::return_exceptions, tasks));
      // A call has read all that it moved the position by, or has moved nothing.
      CHECK(seen + await(file.read()) == text);
      await(file.close());
    }
  });
}

TEST_CASE("a loop that ends has no call under way") {
  const Folder folder;
  folder.make("old", numbers(100'000));
  for (int steps = 0; steps < 5; ++steps) {
    const asyncio::EventLoop loop = asyncio::new_event_loop();
    loop.set_exception_handler([](const auto&, const auto&) {});
    const auto task = loop.create_task([&] {
      const auto file = await(aiofiles::open(folder / "old"));
      for (;;) {
        await(file.seek(0));
        await(file.read());
        await(aiofiles::os::atomic_write(folder / "new", "x"));
      }
    });
    loop.run_until_complete([steps] {
      for (int i = 0; i < steps * 3; ++i) await(asyncio::sleep(0));
    });
    loop.close();
  }
}
