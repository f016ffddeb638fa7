// Process pools in a program that lowers its limits while they work.
#include <fiber/concurrent/process.hpp>

#include <doctest/doctest.h>

#include <string>

#include <sys/resource.h>
#include <unistd.h>

#include "captured.hpp"

using namespace fiber::concurrent::futures;

#if !defined(FIBER_ASAN)  // UndefinedBehaviorSanitizer needs a pipe for its first look at a class

namespace {

// Allows descriptors below a number alone, while it lives; those that are open stay so.
class FilesBelow {
 public:
  explicit FilesBelow(rlim_t number) {
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const rlimit lower{.rlim_cur = number, .rlim_max = before_.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &lower) == 0);
  }
  FilesBelow(const FilesBelow&) = delete;
  FilesBelow& operator=(const FilesBelow&) = delete;
  ~FilesBelow() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

int number() { return 42; }

}  // namespace

TEST_CASE("a pool that the kernel does not let wait for its workers is broken") {
  ProcessPoolExecutor pool({.max_workers = 1});
  CHECK(pool.submit(number).result() == 42);
  Captured errors(2);
  auto endless = pool.submit(pause);
  {
    const FilesBelow limit(2);               // poll() takes no more of them at once
    const auto later = pool.submit(number);  // the pool waits anew
    CHECK_THROWS_AS(later.result(), BrokenProcessPool);
    CHECK_THROWS_AS(endless.result(), BrokenProcessPool);
  }
  CHECK_THROWS_AS(pool.submit(number), BrokenProcessPool);
  pool.shutdown();
  const std::string text = errors.text();
  CHECK(text.find("Exception in the manager of a process pool:") != std::string::npos);
  CHECK(text.find("Invalid argument") != std::string::npos);
}
#endif
