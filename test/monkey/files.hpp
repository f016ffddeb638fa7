// Files that are read and written by patched calls, for the tests with io_uring and those without.
#pragma once

#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <vector>

#include "monkey/file_calls.hpp"
#include "monkey/support.hpp"
#include "support/folder.hpp"

namespace monkey_test {

// Bytes that differ from place to place.
inline std::string some_text(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i)
    text[i] = static_cast<char>('a' + i * i % 23 + i / 4096 % 3);
  return text;
}

// An open file.
struct File {
  explicit File(const std::string& content = {}, int flags = 0)
      : path(folder.make("file", content)), fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | flags)) {}
  // Makes the next reads come from the disk, where the file system has one.
  void forget_cache() const {
    CHECK(::fdatasync(fd) == 0);
    CHECK(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
  }
  std::string content() const { return folder.content("file"); }

  support::Folder folder;
  std::string path;
  Descriptor fd;
};

// Reads a file's bytes in every way, always with one result.
inline void read_in_every_way() {
  const std::string text = some_text(300'001);
  const File file(text);
  run([&] {
    for (const bool cached : {false, true, false}) {
      CAPTURE(cached);
      std::string all(text.size() + 100, '\0');
      const auto forget = [&] {
        if (!cached) file.forget_cache();
        all.assign(all.size(), '\0');
        errno = 33;
      };
      forget();
      CHECK(calls::pread(file.fd, all.data(), all.size(), 0) ==
            static_cast<ssize_t>(text.size()));  // to the end
      CHECK(errno == 33);
      CHECK((all.substr(0, text.size()) == text));
      forget();
      CHECK(calls::pread(file.fd, all.data(), 5000, 4095) == 5000);
      CHECK((all.substr(0, 5000) == text.substr(4095, 5000)));
      CHECK(calls::pread(file.fd, all.data(), 10, 300'001) == 0);
      CHECK(calls::pread(file.fd, all.data(), 0, 0) == 0);
      forget();
      const iovec parts[] = {{all.data(), 10}, {all.data() + 10, 0}, {all.data() + 10, 200'000}};
      CHECK(calls::preadv(file.fd, parts, 3, 77) == 200'010);
      CHECK((all.substr(0, 200'010) == text.substr(77, 200'010)));
      forget();
      CHECK(calls::pread_chk(file.fd, all.data(), 10, 1, all.size()) == 10);
      CHECK((all.substr(0, 10) == text.substr(1, 10)));
      // A read moves the position by the number of its bytes.
      forget();
      CHECK(::lseek(file.fd, 0, SEEK_SET) == 0);
      CHECK(calls::read(file.fd, all.data(), 100'000) == 100'000);
      CHECK(::lseek(file.fd, 0, SEEK_CUR) == 100'000);
      const iovec two[] = {{all.data() + 100'000, 1}, {all.data() + 100'001, 300'000}};
      CHECK(calls::readv(file.fd, two, 2) == 200'001);
      CHECK((all.substr(0, text.size()) == text));
      CHECK(calls::read(file.fd, all.data(), 10) == 0);
    }
  });
}

// Returns the order of events.
inline std::string sync_while_others_run() {
  Events say;
  const File file("text");
  run([&] {
    for (const auto& sync : {calls::fsync, calls::fdatasync}) {
      const auto other = start([&] { say("other"); });
      CHECK(calls::pwrite(file.fd, "more", 4, 4) == 4);
      errno = 33;
      CHECK(sync(file.fd) == 0);
      CHECK(errno == 33);
      say("synced");
      await(other);
    }
    CHECK(calls::fsync(-1) == -1);
    CHECK(errno == EBADF);
  });
  return say.take();
}

// A cancelled call is carried out to its end, and afterwards nobody else uses its memory.
inline void cancel_what_is_under_way() {
  Events say;
  const std::string text = some_text(3'000'000);
  const File file(text);
  run([&] {
    std::vector<asyncio::Task<void>> tasks;
    tasks.push_back(start([&] {
      CHECK(calls::fsync(file.fd) == 0);
      say("synced");
      await(asyncio::sleep(0));
      say("not here");
    }));
    tasks.push_back(start([&] {
      CHECK(calls::pwrite(file.fd, text.data(), text.size(), 1'000'000) == 3'000'000);
      say("written");
    }));
    await(asyncio::sleep(0));
    for (const auto& task : tasks) task.cancel();
    await(asyncio::wait(tasks));
    for (const auto& task : tasks) CHECK(task.cancelled());
    file.forget_cache();
    std::vector<asyncio::Task<void>> readers;
    for (int i = 0; i < 20; ++i)
      readers.push_back(start([&, i] {
        std::string part(100'000, '\0');
        CHECK(calls::pread(file.fd, part.data(), part.size(), i * 100'000) == 100'000);
        CHECK((part == (text.substr(0, 1'000'000) + text).substr(i * 100'000, 100'000)));
      }));
    await(asyncio::sleep(0));
    for (const auto& task : readers) task.cancel();
    await(asyncio::wait(readers));
  });
  const std::string events = say.take();
  CHECK((events == "synced written" || events == "written synced"));
  CHECK((file.content() == text.substr(0, 1'000'000) + text));
}

}  // namespace monkey_test
