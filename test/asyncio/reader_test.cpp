#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/vectors.hpp"

namespace asyncio = fiber::asyncio;
using asyncio::await;
using asyncio::StreamReader;
using support::Events;
using support::thrown_by;

namespace {

// Gives way to all ready entries, a few times.
void settle() {
  for (int i = 0; i < 4; ++i) await(asyncio::sleep(0));
}

// Notes requests to pause and to resume.
class Source final : public asyncio::detail::ReadSource {
 public:
  explicit Source(Events& events) : events_(events) {}
  void pause_reading() override { events_("pause"); }
  void resume_reading() override { events_("resume"); }
  void nobody_reads() noexcept override { events_("nobody reads"); }

 private:
  Events& events_;
};

}  // namespace

TEST_CASE("buffered data is returned without suspension") {
  asyncio::run([] {
    const StreamReader reader;
    bool others_ran = false;
    const auto other = asyncio::create_task([&] { others_ran = true; });
    reader.feed_data("line one\nline two\nabcdef");
    CHECK(await(reader.readline()) == "line one\n");
    CHECK(await(reader.readuntil("two\n")) == "line two\n");
    CHECK(await(reader.readexactly(2)) == "ab");
    CHECK(await(reader.read(100)) == "cdef");
    CHECK_FALSE(others_ran);
    await(other);
  });
}

TEST_CASE("read(n) returns at most n bytes, read(0) nothing at once, read() all up to the end") {
  asyncio::run([] {
    const StreamReader reader;
    reader.feed_data("0123456789");
    CHECK(await(reader.read(4)) == "0123");
    CHECK(await(reader.read(0)) == "");
    reader.feed_eof();
    CHECK(await(reader.read()) == "456789");
    CHECK(await(reader.read()) == "");
    CHECK(await(reader.read(5)) == "");
    CHECK(reader.at_eof());
  });
}

TEST_CASE("at_eof is true once the end has come and nothing is left") {
  asyncio::run([] {
    const StreamReader reader;
    reader.feed_data("x");
    CHECK_FALSE(reader.at_eof());
    reader.feed_eof();
    CHECK_FALSE(reader.at_eof());
    CHECK(await(reader.read(10)) == "x");
    CHECK(reader.at_eof());
  });
}

TEST_CASE("a reader that waits goes on in the iteration after the data came") {
  Events say;
  asyncio::run([&] {
    const StreamReader reader;
    const auto task = asyncio::create_task([&] { say("got:" + await(reader.read(3))); });
    await(asyncio::sleep(0));
    reader.feed_data("abcdef");
    say("fed");
    await(asyncio::sleep(0));
    say("later");
    await(task);
    CHECK(await(reader.read(100)) == "def");
  });
  CHECK(say.take() == "fed got:abc later");
}

TEST_CASE("readline waits for the whole line, and returns what there is at the end") {
  Events say;
  asyncio::run([&] {
    const StreamReader reader;
    const auto task = asyncio::create_task([&] {
      for (const std::string& line : reader) say(line.substr(0, line.find('\n')));
      say("end");
    });
    for (const char* piece : {"one\ntw", "o\n", "thr", "ee"}) {
      settle();
      reader.feed_data(piece);
    }
    reader.feed_eof();
    await(task);
  });
  CHECK(say.take() == "one two three end");
}

TEST_CASE("an iteration over lines keeps empty lines") {
  asyncio::run([] {
    const StreamReader reader;
    reader.feed_data("a\n\nb\n");
    reader.feed_eof();
    std::vector<std::string> lines;
    for (std::string line : reader) lines.push_back(line);
    CHECK(lines == std::vector<std::string>{"a\n", "\n", "b\n"});
  });
}

TEST_CASE("a line longer than the limit is an error and is dropped, the rest stays") {
  asyncio::run([] {
    const StreamReader reader(8);
    reader.feed_data("abc\n0123456789\nrest\n");
    CHECK(await(reader.readline()) == "abc\n");
    CHECK(thrown_by([&] { await(reader.readline()); }) ==
          "ValueError('Separator is found, but chunk is longer than limit')");
    CHECK(await(reader.readline()) == "rest\n");
  });
}

TEST_CASE("without a newline in sight everything buffered is dropped") {
  asyncio::run([] {
    const StreamReader reader(8);
    reader.feed_data("0123456789abcdef");
    CHECK(thrown_by([&] { await(reader.readline()); }) ==
          "ValueError('Separator is not found, and chunk exceed the limit')");
    reader.feed_data("ok\n");
    CHECK(await(reader.readline()) == "ok\n");
  });
}

TEST_CASE("readuntil over the limit leaves the data and says how much may be read") {
  asyncio::run([] {
    const StreamReader reader(8);
    reader.feed_data("0123456789abcdef!");
    try {
      await(reader.readuntil("##"));
      FAIL("no error");
    } catch (const asyncio::LimitOverrunError& error) {
      CHECK(std::string(error.what()) == "Separator is not found, and chunk exceed the limit");
      CHECK(error.consumed() == 16);
    }
    reader.feed_data("##");
    try {
      await(reader.readuntil("##"));
      FAIL("no error");
    } catch (const asyncio::LimitOverrunError& error) {
      CHECK(std::string(error.what()) == "Separator is found, but chunk is longer than limit");
      CHECK(error.consumed() == 17);
      CHECK(await(reader.readexactly(static_cast<std::ptrdiff_t>(error.consumed()))) ==
            "0123456789abcdef!");
    }
    CHECK(await(reader.read(10)) == "##");
  });
}

TEST_CASE("a separator may come in pieces") {
  asyncio::run([] {
    const StreamReader reader;
    const auto task = asyncio::create_task([&] { return await(reader.readuntil("SEP")); });
    for (const char* piece : {"dataS", "EPS", "E", "SEPmore"}) {
      settle();
      reader.feed_data(piece);
    }
    CHECK(await(task) == "dataSEP");
    CHECK(await(reader.readuntil("SEP")) == "SESEP");
    CHECK(await(reader.read(10)) == "more");
  });
}

TEST_CASE("of several separators the one that ends first counts") {
  asyncio::run([] {
    const StreamReader reader;
    reader.feed_data("a;b, c\r\nd");
    const std::vector<std::string> separators{"\r\n", ", ", ";", "\n"};
    CHECK(await(reader.readuntil(separators)) == "a;");
    CHECK(await(reader.readuntil({", ", "\n"})) == "b, ");
    CHECK(await(reader.readuntil(separators)) == "c\r\n");
    reader.feed_eof();
    CHECK(thrown_by([&] { await(reader.readuntil(separators)); }) ==
          "IncompleteReadError('1 bytes read on a total of undefined expected bytes')");
    CHECK(thrown_by([&] { await(reader.readuntil(std::vector<std::string>{})); }) ==
          "ValueError('Separator should contain at least one element')");
    CHECK(thrown_by([&] { await(reader.readuntil("")); }) ==
          "ValueError('Separator should be at least one-byte string')");
  });
}

TEST_CASE("readexactly at the end gives what there was, and empties the buffer") {
  asyncio::run([] {
    const StreamReader reader;
    reader.feed_data("rest0123456789abc");
    reader.feed_eof();
    try {
      await(reader.readexactly(100));
      FAIL("no error");
    } catch (const asyncio::IncompleteReadError& error) {
      CHECK(std::string(error.what()) == "17 bytes read on a total of 100 expected bytes");
      CHECK(error.partial() == "rest0123456789abc");
      CHECK(error.expected() == 100);
    }
    CHECK(await(reader.read(10)) == "");
    CHECK(reader.at_eof());
    CHECK(thrown_by([&] { await(reader.readexactly(-1)); }) ==
          "ValueError('readexactly size can not be less than zero')");
    CHECK(await(reader.readexactly(0)) == "");
  });
}

TEST_CASE("readexactly collects as many pieces as it takes, beyond the limit too") {
  asyncio::run([] {
    const StreamReader reader(4);
    const auto task = asyncio::create_task([&] { return await(reader.readexactly(30)); });
    for (int i = 0; i < 4; ++i) {
      settle();
      reader.feed_data("0123456789");
    }
    CHECK(await(task) == "012345678901234567890123456789");
    CHECK(await(reader.read(100)) == "0123456789");
  });
}

TEST_CASE("two tasks may not wait in one reader") {
  asyncio::run([] {
    const StreamReader reader;
    const auto first = asyncio::create_task([&] { return await(reader.readline()); });
    settle();
    const auto refused = [](const char* name) {
      return "RuntimeError('" + std::string(name) +
             "() called while another coroutine is already waiting for incoming data')";
    };
    CHECK(thrown_by([&] { await(reader.readuntil()); }) == refused("readuntil"));
    CHECK(thrown_by([&] { await(reader.readline()); }) == refused("readuntil"));
    CHECK(thrown_by([&] { await(reader.read(1)); }) == refused("read"));
    CHECK(thrown_by([&] { await(reader.readexactly(1)); }) == refused("readexactly"));
    reader.feed_data("x\n");
    CHECK(await(first) == "x\n");
  });
}

TEST_CASE("an exception ends the wait and every later read") {
  asyncio::run([] {
    const StreamReader reader;
    const auto task = asyncio::create_task([&] { return await(reader.read(10)); });
    settle();
    CHECK(reader.exception() == nullptr);
    reader.set_exception(fiber::ValueError("broken"));
    CHECK(thrown_by([&] { await(task); }) == "ValueError('broken')");
    CHECK(fiber::repr(reader.exception()) == "ValueError('broken')");
    CHECK(thrown_by([&] { await(reader.readline()); }) == "ValueError('broken')");
    CHECK(thrown_by([&] { await(reader.readexactly(1)); }) == "ValueError('broken')");
    CHECK(thrown_by([&] { await(reader.readuntil("x")); }) == "ValueError('broken')");
  });
}

TEST_CASE("a cancelled read loses nothing, and another task may read then") {
  asyncio::run([] {
    const StreamReader reader;
    const auto task = asyncio::create_task([&] { return await(reader.read(4)); });
    settle();
    SUBCASE("cancelled while it waits") { task.cancel(); }
    SUBCASE("cancelled with the data in its hands") {
      reader.feed_data("0123456789");
      task.cancel();
    }
    CHECK(thrown_by([&] { await(task); }) == "CancelledError()");
    if (!reader.at_eof()) reader.feed_data("-");
    reader.feed_eof();
    const std::string all = await(reader.read());
    CHECK((all == "-" || all == "0123456789-"));
  });
}

TEST_CASE("readinto fills the caller's memory") {
  asyncio::run([] {
    const StreamReader reader;
    char memory[4];
    reader.feed_data("ab");
    CHECK(await(reader.readinto(memory)) == 2);
    CHECK(std::string(memory, 2) == "ab");
    const auto task = asyncio::create_task([&] { return await(reader.readinto(memory)); });
    settle();
    reader.feed_data("0123456");
    CHECK(await(task) == 4);
    CHECK(std::string(memory, 4) == "0123");
    CHECK(await(reader.read(10)) == "456");
    reader.feed_eof();
    CHECK(await(reader.readinto(memory)) == 0);
  });
}

TEST_CASE("a limit of zero is refused, and data after the end") {
  asyncio::run([] {
    CHECK(thrown_by([] { const StreamReader reader(0); }) == "ValueError('Limit cannot be <= 0')");
    const StreamReader reader;
    reader.feed_eof();
    CHECK(thrown_by([&] { reader.feed_data("x"); }) == "RuntimeError('feed_data after feed_eof')");
  });
}

TEST_CASE("a time limit on a read cancels it and leaves the stream usable") {
  asyncio::run([] {
    const StreamReader reader;
    CHECK(thrown_by([&] {
            await(asyncio::wait_for(reader.readline(), std::chrono::milliseconds(1)));
          }) == "TimeoutError()");
    reader.feed_data("late\n");
    CHECK(await(reader.readline()) == "late\n");
  });
}

TEST_CASE("the source is paused above twice the limit, and goes on at the limit") {
  Events events;
  asyncio::run([&] {
    Source source(events);
    const fiber::core::Ref object(
        new asyncio::detail::ReaderObject(asyncio::get_running_loop().object(), 10));
    const StreamReader reader(*object);
    object->set_source(&source);
    reader.feed_data(std::string(20, 'x'));
    CHECK(events.take() == "");
    reader.feed_data("x");
    CHECK(events.take() == "pause");
    await(reader.read(10));
    CHECK(events.take() == "");
    await(reader.read(1));
    CHECK(events.take() == "resume");
  });
}

TEST_CASE("of separators that end at the same place the shortest counts, also for the limit") {
  asyncio::run([] {
    const auto until = [](std::vector<std::string> separators) {
      return thrown_by([&] {
        const StreamReader reader(2);
        reader.feed_data("xxabc");
        CHECK(await(reader.readuntil(std::move(separators))) == "xxabc");
      });
    };
    CHECK(until({"abc"}) == "");
    const std::string refused =
        "LimitOverrunError('Separator is found, but chunk is longer than limit')";
    CHECK(until({"abc", "bc"}) == refused);
    CHECK(until({"bc", "abc"}) == refused);
  });
}

TEST_CASE(
    "a loop over lines has its own handle: the body may give another reader to the variable") {
  asyncio::run([] {
    const std::string line = std::string(100, 'x') + "\n";
    auto feed = [&](StreamReader& reader) {
      for (int i = 0; i < 3; ++i) reader.feed_data(line);
      reader.feed_eof();
    };
    StreamReader reader;
    feed(reader);
    std::vector<std::string> lines;
    std::vector<StreamReader> others;
    for (std::string next : reader) {
      lines.push_back(next);
      reader = StreamReader();
      others.push_back(reader);
      others.back().feed_data("another reader\n");
      others.back().feed_eof();
    }
    CHECK(lines == std::vector<std::string>(3, line));
    CHECK(await(reader.readline()) == "another reader\n");
  });
}
