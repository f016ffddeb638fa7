// Helpers of the tests of patched calls.
#pragma once

#include <fiber/asyncio.hpp>
#include <fiber/monkey.hpp>

#include <doctest/doctest.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "monkey/calls.hpp"
#include "support/events.hpp"

namespace monkey_test {

namespace asyncio = fiber::asyncio;
namespace monkey = fiber::monkey;
using asyncio::await;
using namespace std::chrono_literals;
using support::Events;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) { REQUIRE(fd >= 0); }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }
  operator int() const { return fd_; }  // NOLINT(google-explicit-constructor)
  int close() { return fd_ >= 0 ? calls::close(std::exchange(fd_, -1)) : 0; }

 private:
  int fd_;
};

struct Ends {
  Descriptor a, b;  // of a pipe: to read, to write
};

// Returns two connected sockets, which block.
inline Ends socket_pair(int type = SOCK_STREAM) {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == 0);
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}
inline Ends pipe() {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

// Patches everything while it lives.
class Patch {
 public:
  Patch() { monkey::patch_all(); }
  Patch(const Patch&) = delete;
  Patch& operator=(const Patch&) = delete;
  ~Patch() { monkey::unpatch(); }
};

// Runs `body` in a task of a patched program; a call that blocks the thread would never return.
template <class F>
void run(F body) {
  const Patch patch;
  asyncio::run([&] { body(); });
}

// Runs `function` in another task, whose result tells the errno of a failure.
template <class F>
auto start(F function) {
  return asyncio::create_task(std::move(function));
}

inline int threads() {
  int count = 0;
  DIR* list = ::opendir("/proc/self/task");
  REQUIRE(list != nullptr);
  while (const dirent* entry = ::readdir(list))
    if (entry->d_name[0] != '.') ++count;
  ::closedir(list);
  return count;
}

}  // namespace monkey_test
