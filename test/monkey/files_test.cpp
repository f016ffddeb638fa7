// Files: reading and writing at an offset, and waiting until the disk has what was written.
#include "monkey/files.hpp"

#include <sys/mman.h>

using namespace monkey_test;

TEST_CASE("reading gives what is there, from memory and from the disk") { read_in_every_way(); }

TEST_CASE("fsync and fdatasync let other tasks run") {
  CHECK(sync_while_others_run() == "other synced other synced");
}

TEST_CASE("a cancelled call waits to its end, and its task is cancelled afterwards") {
  cancel_what_is_under_way();
}

TEST_CASE("bytes that must come from the disk are read while others run, if the kernel can tell") {
  Events say;
  const File file(some_text(100'000));
  char byte = 0;
  const iovec one{&byte, 1};
  file.forget_cache();
  if (::preadv2(file.fd, &one, 1, 50'000, RWF_NOWAIT) != -1 || errno != EAGAIN) {
    MESSAGE("not tested: this file system has no disk, or does not tell");
    return;
  }
  file.forget_cache();  // the try may have made the kernel read
  run([&] {
    const auto other = start([&] { say("other"); });
    CHECK(calls::pread(file.fd, &byte, 1, 50'000) == 1);
    say("disk");
    await(other);
    const auto another = start([&] { say("other"); });
    CHECK(calls::pread(file.fd, &byte, 1, 50'000) == 1);
    say("memory");
    await(another);
  });
  CHECK(say.take() == "other disk memory other");
}

TEST_CASE(
    "large writes, and those that the disk must have at once, let others run; they stay whole") {
  Events say;
  const std::string text = some_text(200'000);
  run([&] {
    const auto observed = [&](const char* what, auto write) {
      const auto other = start([&] { say("other"); });
      CHECK(write() > 0);
      say(what);
      await(other);
    };
    const File file;
    observed("small", [&] { return calls::pwrite(file.fd, text.data(), 1000, 0); });
    observed("large", [&] { return calls::pwrite(file.fd, text.data(), text.size(), 0); });
    observed("large", [&] { return calls::write(file.fd, text.data(), text.size()); });
    const iovec parts[] = {{const_cast<char*>(text.data()), 100'000},
                           {const_cast<char*>(text.data()) + 100'000, 100'000}};
    observed("parts", [&] { return calls::pwritev(file.fd, parts, 2, 200'000); });
    observed("parts", [&] { return calls::writev(file.fd, parts, 2); });
    CHECK((file.content() == text + text));
    const File at_once({}, O_DSYNC);
    observed("small", [&] { return calls::pwrite(at_once.fd, text.data(), 1000, 0); });

    const File appended({}, O_APPEND);
    std::vector<asyncio::Task<void>> writers;
    for (const char letter : {'a', 'b', 'c', 'd'})
      writers.push_back(start([&, letter] {
        for (int i = 0; i < 5; ++i) {
          const std::string line(70'000, letter);
          CHECK(calls::write(appended.fd, line.data(), line.size()) == 70'000);
        }
      }));
    for (const auto& writer : writers) await(writer);
    const std::string all = appended.content();
    CHECK(all.size() == 20 * 70'000);
    for (std::size_t at = 0; at < all.size(); at += 70'000)
      CHECK(all.find_first_not_of(all[at], at) >= std::min(at + 70'000, all.size()));
  });
  CHECK(say.take() == "small other other large other large other parts other parts other small");
}

TEST_CASE("syncfs, msync and copy_file_range") {
  Events say;
  const std::string text = some_text(100'000);
  const File from(text), to;
  run([&] {
    void* memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, from.fd, 0);
    REQUIRE(memory != MAP_FAILED);
    const auto other = start([&] { say("other"); });
    CHECK(calls::msync(memory, 4096, MS_SYNC) == 0);
    say("msync");
    await(other);
    ::munmap(memory, 4096);
    off_t begin = 10, end = 0;
    const ssize_t count = calls::copy_file_range(from.fd, &begin, to.fd, &end, 50'000);
    if (count < 0) {
      CHECK((errno == EXDEV || errno == ENOSYS || errno == EOPNOTSUPP));
    } else {
      CHECK(count == 50'000);
      CHECK(begin == 50'010);
      CHECK(end == 50'000);
      CHECK((to.content() == text.substr(10, 50'000)));
    }
    CHECK(calls::syncfs(-1) == -1);
    CHECK(errno == EBADF);
  });
  CHECK(say.take() == "other msync");
}

TEST_CASE("preadv2 and pwritev2 without an offset wait for pipes and sockets") {
  run([] {
    for (const bool sockets : {false, true}) {
      CAPTURE(sockets);
      const Ends ends = sockets ? socket_pair() : pipe();
      std::string text(1'000'000, 'a'), got(text.size(), ' ');
      const auto writer = start([&] {
        const iovec all{.iov_base = text.data(), .iov_len = text.size()};
        CHECK(calls::pwritev2(ends.b, &all, 1, -1, 0) == static_cast<ssize_t>(text.size()));
      });
      for (std::size_t count = 0; count < text.size();) {
        const iovec rest{.iov_base = got.data() + count, .iov_len = text.size() - count};
        const ssize_t part = calls::preadv2(ends.a, &rest, 1, -1, 0);
        REQUIRE(part > 0);
        count += static_cast<std::size_t>(part);
      }
      CHECK(got == text);
      await(writer);
    }
  });
}

TEST_CASE("errors are libc's") {
  const File file("text");
  const Ends ends = pipe();
  const support::Folder folder;
  const Descriptor directory(::open(folder.path().c_str(), O_RDONLY | O_DIRECTORY));
  run([&] {
    char byte = 0;
    const auto fails = [](ssize_t result) { return result == -1 ? errno : 0; };
    CHECK(fails(calls::pread(-1, &byte, 1, 0)) == EBADF);
    CHECK(fails(calls::pread(file.fd, &byte, 1, -1)) == EINVAL);
    CHECK(fails(calls::pread(ends.a, &byte, 1, 0)) == ESPIPE);
    CHECK(fails(calls::pread(directory, &byte, 1, 0)) == EISDIR);
    CHECK(fails(calls::read(directory, &byte, 1)) == EISDIR);
    CHECK(fails(calls::pread(file.fd, nullptr, 1, 0)) == EFAULT);
    CHECK(fails(calls::pwrite(file.fd, nullptr, 100'000, 0)) == EFAULT);
    CHECK(fails(calls::pwrite(file.fd, &byte, 1, -1)) == EINVAL);
    CHECK(fails(calls::pwrite(ends.b, &byte, 1, 0)) == ESPIPE);
    CHECK(fails(calls::fsync(ends.a)) == EINVAL);
    const iovec none{&byte, 1};
    CHECK(fails(calls::preadv(file.fd, &none, -1, 0)) == EINVAL);
    CHECK(calls::preadv(file.fd, &none, 0, 0) == 0);
  });
}

TEST_CASE("reading and writing a file leave errno as it was, also where the kernel cannot try") {
  run([&] {
    const Descriptor fd(::open("/proc/self/stat", O_RDONLY | O_CLOEXEC));
    char byte = 0;
    errno = 33;
    CHECK(calls::read(fd, &byte, 1) == 1);
    CHECK(errno == 33);
    CHECK(calls::pread(fd, &byte, 1, 0) == 1);
    CHECK(errno == 33);
    const File file;
    CHECK(calls::write(file.fd, "x", 1) == 1);
    CHECK(errno == 33);
  });
}

TEST_CASE("without a thread to make it, the call is libc's") {
  const File file("text");
  run([&] {
    await(asyncio::get_running_loop().shutdown_default_executor());
    CHECK(calls::fsync(file.fd) == 0);
    file.forget_cache();
    char text[5] = {};
    CHECK(calls::pread(file.fd, text, 4, 0) == 4);
    CHECK(std::string(text) == "text");
  });
}

TEST_CASE("a task that ends with its loop leaves no call behind") {
  const std::string text = some_text(5'000'000);
  const File file;
  const Patch patch;
  {
    const auto loop = asyncio::new_event_loop();
    const auto writer = loop.create_task([&] {
      calls::pwrite(file.fd, text.data(), text.size(), 0);
      calls::fsync(file.fd);
    });
    loop.run_until_complete([] { await(asyncio::sleep(0)); });
    loop.set_exception_handler([](const auto&, const auto&) {});
    loop.close();
  }
  CHECK((file.content() == text));
}
