// Streams of stdio that are written to, while the other end is slow.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>
#include <vector>

#include "monkey/stdio_calls.hpp"
#include "monkey/support.hpp"

using namespace monkey_test;

namespace {

constexpr std::size_t kMuch = 300'000;

std::string numbered(std::size_t size) {
  std::string text;
  for (int i = 0; text.size() < size; ++i) text += std::to_string(i) + (i % 7 == 0 ? "\n" : " ");
  return text;
}

// What comes out of the reading end until it ends, in another task.
asyncio::Task<std::string> all_of(const Descriptor& end) {
  return start([&end] {
    std::string text;
    char part[4096];
    for (ssize_t count = 0; (count = calls::read(end, part, sizeof part)) > 0;) {
      text.append(part, static_cast<std::size_t>(count));
      if (text.size() % 5 == 0) await(asyncio::sleep(0));
    }
    return text;
  });
}

FILE* stream_to(const Descriptor& end, int mode) {
  FILE* stream = ::fdopen(::dup(end), "w");
  REQUIRE(stream != nullptr);
  if (mode != _IOFBF) REQUIRE(::setvbuf(stream, nullptr, mode, mode == _IONBF ? 0 : 4096) == 0);
  return stream;
}

void put_by(int way, const std::string& text, FILE* stream) {
  if (way == 0) CHECK(calls::fwrite(text.data(), 1, text.size(), stream) == text.size());
  if (way == 1) CHECK(calls::fputs(text.c_str(), stream) >= 0);
  if (way == 2) CHECK(calls::fprintf(stream, "%s", text.c_str()) == int(text.size()));
  if (way == 3)
    for (const char byte : text) CHECK(calls::fputc(byte, stream) == byte);
  if (way == 4)
    for (const char byte : text) CHECK(calls::putc_unlocked(byte, stream) == byte);
  if (way == 5)
    for (std::size_t at = 0; at < text.size(); at += 1500)
      CHECK(calls::fprintf(stream, "%s", text.substr(at, 1500).c_str()) > 0);
}

}  // namespace

TEST_CASE("whatever is printed to a slow pipe or socket arrives as a whole") {
  const std::string text = numbered(kMuch);
  for (const bool is_pipe : {true, false})
    for (const int mode : {_IOFBF, _IOLBF, _IONBF})
      for (int way = 0; way < 6; ++way) {
        if (mode == _IONBF && way >= 3) continue;  // a call of the system for each byte
        CAPTURE(is_pipe);
        CAPTURE(mode);
        CAPTURE(way);
        run([&] {
          Ends ends = is_pipe ? pipe() : socket_pair();
          FILE* stream = stream_to(ends.b, mode);
          ends.b.close();
          const auto reader = all_of(ends.a);
          errno = 33;
          put_by(way, text, stream);
          CHECK(errno == 33);
          CHECK(calls::fclose(stream) == 0);
          CHECK((await(reader) == text));
        });
      }
}

TEST_CASE("fflush and fclose wait until a full pipe takes what is left") {
  run([] {
    for (const bool closes : {false, true}) {
      Ends ends = pipe();
      FILE* stream = stream_to(ends.b, _IOFBF);
      const std::string filling(static_cast<std::size_t>(::fcntl(ends.b, F_GETPIPE_SZ)), 'x');
      REQUIRE(calls::write(ends.b, filling.data(), filling.size()) ==
              static_cast<ssize_t>(filling.size()));
      ends.b.close();
      CHECK(calls::fputs("end", stream) >= 0);
      const auto reader = all_of(ends.a);
      if (!closes) CHECK(calls::fflush(stream) == 0);
      CHECK(calls::fclose(stream) == 0);
      CHECK((await(reader) == filling + "end"));
    }
  });
}

TEST_CASE("the blocks of two tasks are not mixed") {
  run([] {
    Ends ends = pipe();
    FILE* stream = stream_to(ends.b, _IOFBF);
    ends.b.close();
    const auto reader = all_of(ends.a);
    const std::string a(kMuch, 'a'), b(kMuch, 'b');
    const auto other = start([&] { put_by(0, b, stream); });
    put_by(0, a, stream);
    await(other);
    CHECK(calls::fclose(stream) == 0);
    const std::string came = await(reader);
    CHECK(((came == a + b) || (came == b + a)));
  });
}

TEST_CASE("a cancelled task is told that its output has failed") {
  run([] {
    Ends ends = pipe();
    FILE* stream = stream_to(ends.b, _IOFBF);
    const auto task = start([&] {
      const std::string text(kMuch, 'x');
      CHECK(calls::fwrite(text.data(), 1, text.size(), stream) < text.size());
      CHECK(errno == ECANCELED);
      CHECK(::ferror(stream) != 0);
    });
    await(asyncio::sleep(2ms));
    task.cancel();
    await(asyncio::wait(std::vector{task}));
    CHECK(task.cancelled());
    CHECK(calls::fclose(stream) == 0);
  });
}

TEST_CASE("files, memory and the results of calls are those of libc") {
  run([] {
    const std::string text = numbered(20'000);
    FILE* file = std::tmpfile();
    REQUIRE(file != nullptr);
    for (int way = 0; way < 6; ++way) put_by(way, text, file);
    CHECK(std::ftell(file) == static_cast<long>(6 * text.size()));
    CHECK(calls::fclose(file) == 0);
    char memory[100] = {};
    FILE* stream = ::fmemopen(memory, sizeof memory, "w");
    CHECK(calls::fprintf(stream, "%d %s", 5, "five") == 6);
    CHECK(calls::fwrite("xyz", 3, 1, stream) == 1);
    CHECK(calls::fwrite("xyz", 3, 0, stream) == 0);
    CHECK(calls::fclose(stream) == 0);
    CHECK(std::string(memory) == "5 fivexyz");
    const Ends ends = pipe();
    FILE* reading = ::fdopen(::dup(ends.a), "r");
    CHECK(calls::fputs("x", reading) == EOF);
    CHECK(calls::fclose(reading) == 0);
  });
}
