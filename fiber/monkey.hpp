// Blocking calls of libc made cooperative in code that is not ours to change: a database client, a
// TLS library, the program itself. In a task they let other tasks run while they wait; everywhere
// else they are what they were. Python: gevent.monkey.
//
//   fiber::monkey::patch_library("libpq.so.5");
//   asyncio::run([] {
//     await(asyncio::gather([] { PQexec(a, "SELECT pg_sleep(1)"); },
//                           [] { PQexec(b, "SELECT pg_sleep(1)"); }));   // one second, one thread
//   });
//
// What is replaced are the imports of loaded objects (the entries of their tables that point to
// libc's functions), so only calls that cross from such an object into libc are caught: not those
// that libc makes itself, as fgets() does, and not those of an object that is loaded later, for
// which patch again.
//
// A patched call is cooperative when its thread runs an event loop and, in it, a task. It then
//  - tries without blocking (MSG_DONTWAIT, RWF_NOWAIT), and waits on the loop where that fails;
//  - keeps no record of descriptors and leaves their flags alone: whether the user wanted
//    O_NONBLOCK, and what SO_RCVTIMEO and SO_SNDTIMEO say, is asked of the kernel when it matters.
//    Only connect, which cannot be tried otherwise, sets O_NONBLOCK for the length of one system
//    call;
//  - gives the results and the errno that the blocking call gives, except that signals do not
//    interrupt it (EINTR) unless a mask given to ppoll or pselect lets them through, and that it
//    fails with EBADF when another task closes the descriptor meanwhile;
//  - fails with ECANCELED when the task is cancelled, because no exception may cross a library of
//    C. The library ends its work with its own error, further calls that would wait fail likewise,
//    and the task gets its CancelledError at its next await, or at its end.
//
// In a child that was forked in a task, calls are libc's for as long as it has not left the loop.
//
// What waits, then: read, write, readv, writev, recv*, send*, sendfile, splice, tee, vmsplice,
// accept, connect, poll, select, epoll_wait, sleep and its relatives, wait*, system, sigwait and its
// relatives, locks on files (flock, lockf, fcntl), message queues (mq_*, msg*), semop, and, on
// threads of the loop's default executor, getaddrinfo and its relatives. What cannot be made
// cooperative: mutexes, condition variables and the semaphores of threads, joining a thread, reading
// and writing files on disks, and calls of stdio. A mutex that is held across such a wait stops the
// thread when another task wants it. asyncio::StallMonitor (asyncio/stall.hpp) finds what still
// blocks.
#pragma once

#include <fiber/core/config.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace fiber::monkey {

// Patches the program and every object that it has loaded, except libc's own parts, this library's
// and the sanitizers'. Returns how many imports were replaced; 0 when all had been. From any
// thread, as are the functions below.
FIBER_API std::size_t patch_all();

// Patches one loaded object: by its name ("libpq.so.5") or path. Throws ValueError if no such
// object is loaded.
FIBER_API std::size_t patch_library(std::string_view name);

// Puts everything back. Calls that wait at this moment end as patched ones.
FIBER_API void unpatch() noexcept;
FIBER_API void unpatch_library(std::string_view name) noexcept;

// An object with patched imports.
struct Patched {
  std::string object;                  // its path
  std::vector<std::string> functions;  // sorted
};
// What is patched now, sorted by object.
FIBER_API std::vector<Patched> patched();

// The functions for which there are replacements, sorted.
FIBER_API std::vector<std::string> patchable();

}  // namespace fiber::monkey
