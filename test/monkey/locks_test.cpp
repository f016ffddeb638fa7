#include "monkey/support.hpp"

#include <dlfcn.h>
#include <sys/file.h>
#include <sys/wait.h>

#include <cerrno>
#include <string>

using namespace monkey_test;

namespace {

class TemporaryFile {
 public:
  TemporaryFile() : fd_(::mkostemp(name_, O_CLOEXEC)) {}
  ~TemporaryFile() { ::unlink(name_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const char* name() const { return name_; }
  operator int() const { return fd_; }  // NOLINT(google-explicit-constructor)

 private:
  char name_[27] = "/tmp/fiber-monkey-XXXXXX";
  Descriptor fd_;
};

struct flock whole(short type) {
  struct flock all {};
  all.l_type = type;
  all.l_whence = SEEK_SET;
  return all;
}

// Another process, which holds a lock on the file until it is told to end.
class Holder {
 public:
  explicit Holder(const TemporaryFile& file) {
    Ends ready = pipe();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::alarm(60);
      struct flock all = whole(F_WRLCK);
      const int fd = ::open(file.name(), O_RDWR | O_CLOEXEC);
      const bool locked = ::fcntl(fd, F_SETLK, &all) == 0;
      (void)!::write(ready.b, locked ? "y" : "n", 1);
      char byte;
      ends_.b.close();
      (void)!::read(ends_.a, &byte, 1);
      ::_exit(0);
    }
    char locked = 0;
    REQUIRE(::read(ready.a, &locked, 1) == 1);
    REQUIRE(locked == 'y');
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  ~Holder() {
    end();
    ::waitpid(pid_, nullptr, 0);
  }
  void end() { ends_.b.close(); }

 private:
  Ends ends_ = pipe();
  pid_t pid_ = -1;
};

}  // namespace

TEST_CASE("flock waits until another task gives the lock up") {
  Events say;
  run([&] {
    const TemporaryFile first;
    const Descriptor second(::open(first.name(), O_RDWR | O_CLOEXEC));
    CHECK(calls::flock(first, LOCK_EX) == 0);
    CHECK(calls::flock(second, LOCK_EX | LOCK_NB) == -1);
    CHECK(errno == EWOULDBLOCK);
    const auto holder = start([&] {
      await(asyncio::sleep(2ms));
      say("unlocks");
      calls::flock(first, LOCK_UN);
    });
    CHECK(calls::flock(second, LOCK_EX) == 0);
    say("locked");
    await(holder);
  });
  CHECK(say.take() == "unlocks locked");
}

TEST_CASE("locks of descriptions (F_OFD_SETLKW) are waited for") {
  Events say;
  run([&] {
    const TemporaryFile first;
    const Descriptor second(::open(first.name(), O_RDWR | O_CLOEXEC));
    struct flock lock = whole(F_WRLCK), unlock = whole(F_UNLCK);
    CHECK(calls::fcntl(first, F_OFD_SETLK, &lock) == 0);
    CHECK(calls::fcntl(second, F_OFD_SETLK, &lock) == -1);
    const auto holder = start([&] {
      await(asyncio::sleep(2ms));
      say("unlocks");
      CHECK(calls::fcntl(first, F_OFD_SETLKW, &unlock) == 0);
    });
    CHECK(calls::fcntl(second, F_OFD_SETLKW, &lock) == 0);
    say("locked");
    await(holder);
    // A cancelled task does not get the lock.
    int error = 0;
    const auto task = start([&] {
      if (calls::fcntl(first, F_OFD_SETLKW, &lock) == -1) error = errno;
    });
    await(asyncio::sleep(2ms));
    task.cancel();
    await(asyncio::wait(std::vector{task}));
    CHECK(error == ECANCELED);
    CHECK(task.cancelled());
  });
  CHECK(say.take() == "unlocks locked");
}

TEST_CASE("fcntl that waits for a lock is cut short as the policy of its object says") {
  int expected = EINTR;
  monkey::Cancel policy = monkey::Cancel::interrupt;
  SUBCASE("interrupt") {}
  SUBCASE("never") {
    policy = monkey::Cancel::never;
    expected = 0;
  }
  Dl_info where{};
  REQUIRE(::dladdr(reinterpret_cast<void*>(calls::fcntl), &where) != 0);
  REQUIRE(monkey::patch_library(where.dli_fname, {.cancel = policy}) > 0);
  asyncio::run([&] {
    const TemporaryFile file;
    struct flock lock = whole(F_WRLCK);
    CHECK(calls::fcntl(file, F_OFD_SETLK, &lock) == 0);
    const auto task = start([&] {
      const Descriptor second(::open(file.name(), O_RDWR | O_CLOEXEC));
      struct flock its = whole(F_WRLCK);
      CHECK((calls::fcntl(second, F_OFD_SETLKW, &its) == 0 ? 0 : errno) == expected);
    });
    await(asyncio::sleep(2ms));
    task.cancel();
    await(asyncio::sleep(2ms));
    lock = whole(F_UNLCK);
    CHECK(calls::fcntl(file, F_OFD_SETLK, &lock) == 0);
    await(asyncio::wait(std::vector{task}));
    CHECK(task.cancelled());
  });
  monkey::unpatch();
}

TEST_CASE("fcntl's other commands are the kernel's, whatever their argument") {
  run([] {
    const Ends ends = pipe();
    CHECK(calls::fcntl(ends.a, F_GETFD, nullptr) == FD_CLOEXEC);
    CHECK(calls::fcntl(ends.a, F_SETFL, reinterpret_cast<void*>(O_NONBLOCK)) == 0);
    CHECK((calls::fcntl(ends.a, F_GETFL, nullptr) & O_NONBLOCK) != 0);
    const Descriptor copy(calls::fcntl(ends.a, F_DUPFD_CLOEXEC, reinterpret_cast<void*>(700)));
    CHECK(copy >= 700);
    struct flock all = whole(F_WRLCK);
    CHECK(calls::fcntl(-1, F_SETLKW, &all) == -1);
    CHECK(errno == EBADF);
  });
}

#if !defined(FIBER_TSAN)  // fibers do not follow into a child process there

TEST_CASE("lockf and F_SETLKW wait until another process gives the lock up") {
  Events say;
  bool with_lockf = false;
  SUBCASE("lockf") { with_lockf = true; }
  SUBCASE("F_SETLKW") {}
  const TemporaryFile file;
  Holder holder(file);
  run([&] {
    struct flock all = whole(F_WRLCK);
    CHECK(calls::lockf(file, F_TLOCK, 0) == -1);
    CHECK(calls::fcntl(file, F_SETLK, &all) == -1);
    const auto other = start([&] {
      await(asyncio::sleep(2ms));
      say("lets it end");
      holder.end();
    });
    CHECK((with_lockf ? calls::lockf(file, F_LOCK, 0) : calls::fcntl(file, F_SETLKW, &all)) == 0);
    say("locked");
    await(other);
  });
  CHECK(say.take() == "lets it end locked");
}

#endif
