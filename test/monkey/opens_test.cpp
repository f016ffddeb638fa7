// Opening the ends of a FIFO.
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "monkey/stdio_calls.hpp"
#include "monkey/support.hpp"
#include "support/folder.hpp"

using namespace monkey_test;

namespace {

class Fifo {
 public:
  Fifo() { REQUIRE(::mkfifo(path(), 0600) == 0); }
  const char* path() const { return path_.c_str(); }

 private:
  support::Folder folder_;
  std::string path_ = folder_ / "fifo";
};

std::string rest_of(int fd) {
  char text[100];
  const ssize_t count = calls::read(fd, text, sizeof text);
  return count >= 0 ? std::string(text, static_cast<std::size_t>(count)) : "failed";
}

}  // namespace

TEST_CASE("opening a FIFO waits for the other end, whichever comes first") {
  for (const bool reader_first : {true, false}) {
    CAPTURE(reader_first);
    run([&] {
      const Fifo fifo;
      const auto reads = [&] {
        errno = 33;
        const Descriptor fd(calls::open(fifo.path(), O_RDONLY | O_CLOEXEC));
        CHECK(errno == 33);
        CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
        return rest_of(fd) + rest_of(fd);
      };
      const auto writes = [&] {
        const Descriptor fd(calls::open(fifo.path(), O_WRONLY | O_CLOEXEC));
        CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
        await(asyncio::sleep(2ms));
        CHECK(calls::write(fd, "text", 4) == 4);
        return std::string("written");
      };
      const std::function<std::string()> bodies[] = {reads, writes};
      const auto first = start(bodies[reader_first ? 0 : 1]);
      await(asyncio::sleep(2ms));
      CHECK(!first.done());
      CHECK(bodies[reader_first ? 1 : 0]() == (reader_first ? "written" : "text"));
      CHECK(await(first) == (reader_first ? "text" : "written"));
    });
  }
}

TEST_CASE("a writer that comes and goes without a word is enough for a reader") {
  run([] {
    const Fifo fifo;
    const auto reader = start([&] {
      const Descriptor fd(calls::open(fifo.path(), O_RDONLY));
      return rest_of(fd);
    });
    await(asyncio::sleep(1ms));
    { const Descriptor fd(calls::open(fifo.path(), O_WRONLY)); }
    CHECK(await(reader) == "");
  });
}

TEST_CASE("streams are opened so, too, and other files as ever") {
  run([] {
    const Fifo fifo;
    const auto reader = start([&] {
      FILE* stream = calls::fopen(fifo.path(), "re");
      REQUIRE(stream != nullptr);
      char line[10];
      CHECK(calls::fgets(line, sizeof line, stream) == line);
      CHECK(std::fclose(stream) == 0);
      return std::string(line);
    });
    FILE* stream = calls::fopen(fifo.path(), "w");
    REQUIRE(stream != nullptr);
    CHECK(std::fputs("line\n", stream) >= 0);
    CHECK(std::fclose(stream) == 0);
    CHECK(await(reader) == "line\n");

    CHECK(calls::fopen(fifo.path(), "wx") == nullptr);  // a new file is asked for
    CHECK(errno == EEXIST);
    CHECK(calls::fopen("/no/such/file", "r") == nullptr);
    CHECK(calls::open("/no/such/file", O_RDONLY) == -1);
    CHECK(errno == ENOENT);
    CHECK(calls::open(fifo.path(), O_WRONLY | O_NONBLOCK) == -1);
    CHECK(errno == ENXIO);
    const Descriptor both(calls::open(fifo.path(), O_RDWR));
    const Descriptor now(calls::open(fifo.path(), O_RDONLY));
  });
}

TEST_CASE("a cancelled task does not wait for the other end") {
  run([] {
    const Fifo fifo;
    for (const int access : {O_RDONLY, O_WRONLY}) {
      const auto task = start([&] {
        CHECK(calls::open(fifo.path(), access) == -1);
        CHECK(errno == ECANCELED);
      });
      await(asyncio::sleep(2ms));
      task.cancel();
      await(asyncio::wait(std::vector{task}));
      CHECK(task.cancelled());
    }
  });
}

TEST_CASE("reading a FIFO to which nobody writes ends at once, and waits when somebody has come") {
  Events say;
  run([&] {
    const Fifo fifo;
    const Descriptor fd(calls::open(fifo.path(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    char bytes[4];
    const iovec part{bytes, sizeof bytes};
    for (const int flags : {O_NONBLOCK, 0}) {
      REQUIRE(::fcntl(fd, F_SETFL, flags) == 0);
      CHECK(calls::read(fd, bytes, sizeof bytes) == 0);
      CHECK(calls::readv(fd, &part, 1) == 0);
    }
    std::FILE* stream = ::fdopen(::dup(fd), "r");
    CHECK(calls::fgetc(stream) == EOF);
    std::fclose(stream);
    const Descriptor writer(calls::open(fifo.path(), O_WRONLY | O_CLOEXEC));
    const auto other = start([&] {
      say("others run");
      CHECK(calls::write(writer, "text", 4) == 4);
    });
    CHECK(calls::read(fd, bytes, sizeof bytes) == 4);
    await(other);
    REQUIRE(::fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    CHECK(calls::read(fd, bytes, sizeof bytes) == -1);
    CHECK(errno == EAGAIN);
  });
  CHECK(say.take() == "others run");
}
