// Calls of a library that knows nothing of fibers: only calls without a wrapper in injection.cpp,
// since functions that the program itself defines are not patched.
#include "harness.hpp"

#include <fiber/asyncio.hpp>
#include <fiber/monkey.hpp>

#include <cerrno>
#include <string>

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monkey/calls.hpp"
#include "support/socket_pair.hpp"

using namespace fiber;
using asyncio::await;
using faults::require;

namespace {

struct Patch {
  Patch() { monkey::patch_library("libmonkey_calls.so"); }
  ~Patch() { monkey::unpatch(); }
};

// Without memory for its first look-up in a process, glibc keeps a lock for ever
// (get_locked_global).
void patch_and_look_up() {
  const Patch patch;
  addrinfo* list = nullptr;
  if (calls::getaddrinfo("localhost", "80", nullptr, &list) == 0) ::freeaddrinfo(list);
}

// Throws the error of a failed call, as a C program would report it.
template <class Result>
Result check(Result result) {
  if (result >= 0) return result;
  if (errno == ENOMEM) throw std::bad_alloc();
  raise_os_error(errno, "a patched call");
}

}  // namespace

FAULTS_SCENARIO(patched_calls, patch_and_look_up) {
  const Patch patch;
  asyncio::run([] {
    const support::SocketPair ends(SOCK_STREAM);
    std::string events;
    // The group ends both tasks before the descriptors, whichever fails.
    asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
      group.create_task([&] {
        char byte = 0;
        const iovec place{&byte, 1};
        check(calls::readv(ends.one, &place, 1));
        events += byte;
        pollfd set{ends.one, POLLIN, 0};
        check(calls::ppoll(&set, 1, nullptr, nullptr));
        check(calls::recvfrom(ends.one, &byte, 1, 0, nullptr, nullptr));
        events += byte;
      });
      group.create_task([&] {
        check(calls::usleep(1000));
        events += '1';
        char two = '2';
        const iovec place{&two, 1};
        check(calls::writev(ends.other, &place, 1));
        check(calls::usleep(1000));
        events += '3';
        check(calls::sendto(ends.other, "4", 1, 0, nullptr, 0));
      });
    });
    require(events == "1234", "the order of patched calls");
    addrinfo hints{};
    hints.ai_family = AF_INET;
    addrinfo* list = nullptr;
    const int status = calls::getaddrinfo("localhost", "80", &hints, &list);
    if (status != 0) throw RuntimeError(std::string("getaddrinfo: ") + ::gai_strerror(status));
    ::freeaddrinfo(list);
  });
}
