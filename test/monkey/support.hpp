// Helpers of the tests of patched calls.
#pragma once

#include <fiber/asyncio.hpp>
#include <fiber/monkey.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/socket.h>
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

// The patched close() wakes those who wait for the descriptor.
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
