// Streams of stdio: reading characters, lines and blocks, and programs behind pipes.
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "monkey/stdio_calls.hpp"
#include "monkey/support.hpp"

using namespace monkey_test;

namespace {

// A stream of the reading end.
class Stream {
 public:
  explicit Stream(int fd, const char* mode = "r") : stream_(::fdopen(::dup(fd), mode)) {
    REQUIRE(stream_ != nullptr);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { std::fclose(stream_); }
  operator FILE*() const { return stream_; }  // NOLINT(google-explicit-constructor)

 private:
  FILE* stream_;
};

void put(int fd, const std::string& text) {
  CHECK(calls::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

// Writes the parts, one after another, while other tasks run.
asyncio::Task<void> put_parts(Descriptor& to, std::vector<std::string> parts) {
  return start([&to, parts = std::move(parts)] {
    for (const std::string& part : parts) {
      await(asyncio::sleep(1ms));
      put(to, part);
    }
    await(asyncio::sleep(1ms));
    to.close();
  });
}

std::string line_of(FILE* stream, int size = 100) {
  std::string line(static_cast<std::size_t>(size), '\0');
  const char* got = calls::fgets(line.data(), size, stream);
  return got != nullptr ? got : "null";
}

}  // namespace

TEST_CASE("a task that has jumped out of a call by an alarm does not keep others from the stream") {
  run([&] {
    const Ends ends = pipe();
    const Stream in(ends.a);
    for (int i = 0; i < 2; ++i) CHECK(calls::jump_out_of_fgets(in));
    put(ends.b, "line\n");
    const auto other = start([&] { return line_of(in); });
    CHECK(await(other) == "line\n");
  });
}

TEST_CASE("fgets waits for a line that comes in parts") {
  for (const bool buffered : {true, false}) {
    CAPTURE(buffered);
    run([&] {
      Ends ends = socket_pair();
      const Stream in(ends.a);
      if (!buffered) ::setvbuf(in, nullptr, _IONBF, 0);
      const auto writer = put_parts(
          ends.b, {"on", "e\ntwo\nthr", "ee\nlong line\n", std::string("a\0b", 3), "\nend"});
      errno = 33;
      CHECK(line_of(in) == "one\n");
      CHECK(errno == 33);
      CHECK(line_of(in) == "two\n");
      CHECK(line_of(in) == "three\n");
      CHECK(line_of(in, 6) == "long ");
      CHECK(line_of(in, 1) == "");
      CHECK(line_of(in) == "line\n");
      std::string line(10, 'x');
      CHECK(calls::fgets(line.data(), 10, in) == line.data());
      CHECK(line.substr(0, 5) == std::string("a\0b\n\0", 5));
      CHECK(line_of(in) == "end");
      CHECK(line_of(in) == "null");
      CHECK(std::feof(in) != 0);
      CHECK(std::ferror(in) == 0);
      await(writer);
    });
  }
}

TEST_CASE("characters, lines of any length, and blocks") {
  run([&] {
    Ends ends = pipe();
    const Stream in(ends.a);
    const std::string large(100'000, 'l');
    const auto writer =
        put_parts(ends.b, {"x", "y", "first;", "second", ";" + large.substr(0, 50'000),
                           large.substr(50'000) + ";", "12345", "678" + large, "tail"});
    CHECK(calls::fgetc(in) == 'x');
    CHECK(std::ungetc('z', in) == 'z');
    CHECK(calls::fgetc(in) == 'z');
    CHECK(calls::getc_unlocked(in) == 'y');
    char* line = nullptr;
    std::size_t size = 0;
    CHECK(calls::getdelim(&line, &size, ';', in) == 6);
    CHECK(std::string(line) == "first;");
    CHECK(calls::getdelim(&line, &size, ';', in) == 7);
    CHECK(std::string(line) == "second;");
    CHECK(calls::getdelim(&line, &size, ';', in) == 100'001);
    CHECK((std::string(line) == large + ";"));
    std::string block(200'000, '\0');
    CHECK(calls::fread(block.data(), 4, 2, in) == 2);
    CHECK(block.substr(0, 8) == "12345678");
    CHECK(calls::fread(block.data(), 1, 100'000, in) == 100'000);
    CHECK((block.substr(0, 100'000) == large));
    CHECK(calls::fread(block.data(), 3, 100, in) == 1);  // "tai", and a part of an element
    CHECK(std::feof(in) != 0);
    CHECK(calls::fread(block.data(), 1, 1, in) == 0);
    CHECK(calls::getdelim(&line, &size, ';', in) == -1);
    CHECK(calls::fgetc(in) == EOF);
    std::free(line);
    await(writer);
  });
}

TEST_CASE("getline of a stream with the mark of an error reads nothing, until it is cleared") {
  run([&] {
    Ends ends = pipe();
    put(ends.b, "line;rest");
    ends.b.close();
    const Stream in(ends.a);
    CHECK(std::fputc('x', in) == EOF);
    REQUIRE(std::ferror(in) != 0);
    char* line = nullptr;
    std::size_t size = 0;
    CHECK(calls::getdelim(&line, &size, ';', in) == -1);
    CHECK(calls::fgetc(in) == 'l');
    std::clearerr(in);
    CHECK(calls::getdelim(&line, &size, ';', in) == 4);
    CHECK(std::string(line) == "ine;");
    std::free(line);
  });
}

TEST_CASE("getline gives memory for a line even if there is none") {
  run([&] {
    Ends ends = pipe();
    ends.b.close();
    const Stream in(ends.a);
    char* line = nullptr;
    std::size_t size = 0;
    CHECK(calls::getdelim(&line, &size, ';', in) == -1);
    CHECK(line != nullptr);
    CHECK(size > 0);
    std::free(line);
  });
}

TEST_CASE("data written to a stream that is also read goes out before the answer is awaited") {
  run([&] {
    Ends ends = socket_pair();
    const Stream both(ends.a, "r+");
    const auto peer = start([&] {
      char text[10] = {};
      CHECK(calls::read(ends.b, text, 9) == 4);
      CHECK(std::string(text) == "ask\n");
      put(ends.b, "answer\n");
    });
    CHECK(std::fputs("ask\n", both) >= 0);
    CHECK(line_of(both) == "answer\n");
    await(peer);
  });
}

TEST_CASE("tasks that read one stream get whole lines") {
  run([&] {
    Ends ends = pipe();
    const Stream in(ends.a);
    std::vector<std::string> lines;
    std::vector<asyncio::Task<void>> readers;
    for (int i = 0; i < 3; ++i)
      readers.push_back(start([&] {
        for (int k = 0; k < 2; ++k) lines.push_back(line_of(in));
      }));
    await(put_parts(ends.b, {"aa", "aa\nb", "bbb\nccc", "c\ndddd\nee", "ee\n", "ff", "ff\n"}));
    for (const auto& reader : readers) await(reader);
    std::sort(lines.begin(), lines.end());
    CHECK((lines ==
           std::vector<std::string>{"aaaa\n", "bbbb\n", "cccc\n", "dddd\n", "eeee\n", "ffff\n"}));
  });
}

TEST_CASE("a cancelled reader of a stream is told of an error") {
  Events say;
  run([&] {
    const Ends ends = pipe();
    const Stream in(ends.a);
    put(ends.b, "half");
    const auto reader = start([&] {
      char line[10];
      CHECK(calls::fgets(line, 10, in) == nullptr);
      say(errno == ECANCELED ? "cancelled" : "other");
      CHECK(std::ferror(in) != 0);
      say(calls::fgetc(in) == EOF ? "end" : "other");
    });
    await(asyncio::sleep(2ms));
    reader.cancel();
    await(asyncio::wait(std::vector{reader}));
    CHECK(reader.cancelled());
    std::clearerr(in);
    put(ends.b, "!");
    CHECK(calls::fgetc(in) == '!');
  });
  CHECK(say.take() == "cancelled end");
}

TEST_CASE("streams that do not block, files, memory, and streams that cannot be read") {
  run([&] {
    const Ends ends = pipe();
    const Stream in(ends.a);
    CHECK(::fcntl(ends.a, F_SETFL, O_NONBLOCK) == 0);
    CHECK(calls::fgetc(in) == EOF);
    CHECK(errno == EAGAIN);
    std::clearerr(in);
    CHECK(line_of(in) == "null");
    char text[] = "memory\nmore";
    FILE* memory = ::fmemopen(text, sizeof text - 1, "r");
    REQUIRE(memory != nullptr);
    CHECK(line_of(memory) == "memory\n");
    CHECK(line_of(memory) == "more");
    std::fclose(memory);
    FILE* file = std::tmpfile();
    REQUIRE(file != nullptr);
    std::fputs("file\n", file);
    std::rewind(file);
    CHECK(line_of(file) == "file\n");
    CHECK(line_of(file) == "null");
    std::fclose(file);
    const Stream out(ends.b, "w");
    CHECK(calls::fgetc(out) == EOF);
    CHECK(errno == EBADF);
  });
}

TEST_CASE("popen and pclose: programs run at the same time, and tell their ends") {
  Events say;
  run([&] {
    std::vector<asyncio::Task<void>> tasks;
    for (int i = 0; i < 3; ++i)
      tasks.push_back(start([&, i] {
        FILE* program = calls::popen(i == 0 ? "read x </dev/null; sleep 0.05; echo out; exit 3"
                                            : "echo out; sleep 0.05; exit 3",
                                     "r");
        REQUIRE(program != nullptr);
        CHECK(line_of(program) == "out\n");
        CHECK(line_of(program) == "null");
        const int status = calls::pclose(program);
        CHECK(WEXITSTATUS(status) == 3);
      }));
    const auto writer = start([&] {
      FILE* program = calls::popen("cat >/dev/null; exit 5", "w");
      REQUIRE(program != nullptr);
      std::fputs("text", program);
      const int status = calls::pclose(program);
      CHECK(WEXITSTATUS(status) == 5);
      say("written");
    });
    say("begun");
    for (const auto& task : tasks) await(task);
    await(writer);
    const auto endless = start([&] {
      FILE* program = calls::popen("exec sleep 1000", "r");
      REQUIRE(program != nullptr);
      CHECK(calls::pclose(program) == -1);
      say(errno == ECANCELED ? "cancelled" : "other");
    });
    await(asyncio::sleep(5ms));
    endless.cancel();
    await(asyncio::wait(std::vector{endless}));
    CHECK(endless.cancelled());
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);  // no child is left
    CHECK(errno == ECHILD);
  });
  CHECK(say.take() == "begun written cancelled");
}

TEST_CASE("outside of tasks streams and programs are libc's") {
  const Patch patch;
  FILE* program = calls::popen("echo out; exit 2", "r");
  REQUIRE(program != nullptr);
  CHECK(line_of(program) == "out\n");
  const int status = calls::pclose(program);
  CHECK(WEXITSTATUS(status) == 2);
}
