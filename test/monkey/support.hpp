// Helpers of the tests of patched calls.
#pragma once

#include <fiber/asyncio.hpp>
#include <fiber/monkey.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "monkey/calls.hpp"
#include "support/descriptor.hpp"
#include "support/events.hpp"
#include "support/socket_pair.hpp"
#include "support/threads.hpp"

namespace monkey_test {

namespace asyncio = fiber::asyncio;
namespace monkey = fiber::monkey;
using asyncio::await;
using namespace std::chrono_literals;
using support::Events;
using support::threads;

// The patched close() wakes the tasks that wait for the descriptor.
using Descriptor = support::DescriptorClosedBy<calls::close>;

// Two connected sockets, or a pipe, of which `a` is read and `b` is written.
struct Ends {
  Descriptor a, b;
};

// Returns two connected sockets, which block.
inline Ends socket_pair(int type = SOCK_STREAM) {
  support::SocketPair pair(type);
  return {Descriptor(pair.one.release()), Descriptor(pair.other.release())};
}
inline Ends pipe() {
  support::Pipe pipe;
  return {Descriptor(pipe.reads.release()), Descriptor(pipe.writes.release())};
}

// A TCP socket that listens on 127.0.0.1, on a port that the system chooses.
struct Listener {
  Descriptor fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  asyncio::SocketAddress address;
  explicit Listener(int backlog = 16) {
    const asyncio::SocketAddress any("127.0.0.1", 0);
    REQUIRE(::bind(fd, any.data(), any.size()) == 0);
    REQUIRE(::listen(fd, backlog) == 0);
    address = asyncio::SocketAddress::of_socket(fd);
  }
};

// A mutex of this kind, such as PTHREAD_MUTEX_RECURSIVE.
class Mutex {
 public:
  explicit Mutex(int kind, int robustness = PTHREAD_MUTEX_STALLED) {
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_settype(&attributes, kind);
    ::pthread_mutexattr_setrobust(&attributes, robustness);
    ::pthread_mutex_init(&mutex_, &attributes);
    ::pthread_mutexattr_destroy(&attributes);
  }
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  ~Mutex() { ::pthread_mutex_destroy(&mutex_); }
  int lock() { return calls::mutex_lock(&mutex_); }
  int trylock() { return calls::mutex_trylock(&mutex_); }
  int unlock() { return calls::mutex_unlock(&mutex_); }
  int make_consistent() { return ::pthread_mutex_consistent(&mutex_); }

 private:
  pthread_mutex_t mutex_;
};

// Events, and how many there were.
struct CountedEvents : Events {
  template <class T>
  void operator()(const T& event) {
    ++count;
    Events::operator()(event);
  }
  int count = 0;
};

// Returns the time on this clock in a while.
inline timespec from_now(clockid_t clock, std::chrono::nanoseconds time) {
  timespec at{};
  ::clock_gettime(clock, &at);
  const auto nanoseconds = at.tv_nsec + time.count();
  return {.tv_sec = at.tv_sec + static_cast<time_t>(nanoseconds / 1'000'000'000),
          .tv_nsec = static_cast<long>(nanoseconds % 1'000'000'000)};
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

}  // namespace monkey_test
