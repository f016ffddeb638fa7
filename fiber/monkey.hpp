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
// libc's functions) and the copies of such pointers in their data, so only calls that cross from
// such an object into libc are caught: not those that libc makes itself, as fgets() does, and not
// those by pointers that lie in allocated memory. report() lists what blocks all the same.
//
// A patched call is cooperative when its thread runs an event loop and, in it, a task. It then
//  - tries without blocking (MSG_DONTWAIT, RWF_NOWAIT), and waits on the loop where that fails;
//  - keeps no record of descriptors and leaves their flags alone: whether the user wanted
//    O_NONBLOCK, and what SO_RCVTIMEO and SO_SNDTIMEO say, is asked of the kernel when it matters.
//    Only connect, which cannot be tried otherwise, sets O_NONBLOCK for the length of one system
//    call;
//  - gives the results and the errno that the blocking call gives, except that signals do not
//    interrupt it (EINTR) unless a mask given to ppoll or pselect lets them through, or they are
//    the SIGALRM of an alarm() that the task itself has set; and that it fails with EBADF when
//    another task closes the descriptor meanwhile;
//  - is cut short when the task is cancelled or its time is over: with ECANCELED, because no
//    exception may cross a library of C, or as PatchOptions say. What the library makes of that is
//    not asked. The CancelledError is thrown at the task's next await, when the scope is left that
//    limits its time (timeout(), wait_for(), TaskGroup), or at the end of the task, with what the
//    library threw as its context: so the scope says TimeoutError although the library said "not
//    found". For work that must be brought to an end all the same there are shield() and grace().
//
// A cancelled task that goes on calling: calls fail at once, also those of descriptors that do not
// block, where these would give EAGAIN. After some rounds each waits a little first, so that other
// tasks run, and asyncio::StallMonitor shows the task.
//
// In a child that was forked in a task, calls are libc's for as long as it has not left the loop.
//
// What waits, then: read, write, readv, writev, recv*, send*, sendfile, splice, tee, vmsplice,
// accept, connect, poll, select, epoll_wait, sleep and its relatives, wait*, system, sigwait and
// its relatives, locks on files (flock, lockf, fcntl), message queues (mq_*, msg*), semop, and, on
// threads of the loop's default executor, getaddrinfo and its relatives; with glibc also mutexes
// that another task of the thread holds, recursive or not, read-write locks, sem_wait and
// pthread_once. What cannot be made cooperative: condition variables, joining a thread, reading
// and writing files on disks, and calls of stdio. asyncio::StallMonitor (asyncio/stall.hpp) finds
// what still blocks; fiber/monkey/README.md is a page on this. Tasks have larger stacks then.
#pragma once

#include <fiber/config.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiber::asyncio::detail {
class TaskBase;
}

namespace fiber::monkey {

/// How cancellation cuts a patched call short.
enum class Cancel : unsigned char {
  error,      ///< it fails with ECANCELED
  interrupt,  ///< it fails with EINTR: for objects that end the process on any other error
  never,      ///< it waits to its end, and the task is cancelled afterwards
};

/// Keyword arguments of patch_all and patch_library.
struct PatchOptions {
  /// Nothing: as policies() say of the object, and else Cancel::error.
  std::optional<Cancel> cancel = {};
  /// Patches what the named library needs as well, and what that needs: libldap's liblber, say.
  bool dependencies = false;
  /// Patches objects that the program loads later (dlopen), as soon as they are loaded: all of
  /// them, or those of the name, which need not be loaded yet. Nothing: true for patch_all.
  std::optional<bool> future = {};
};

/// Patches the program and every object that it has loaded, except libc's own parts, this library's
/// and the sanitizers'. Returns how many imports were replaced; 0 when all had been. From any
/// thread, as are the functions below.
FIBER_API std::size_t patch_all(const PatchOptions& options = {});

/// Patches one loaded object: by its name ("libpq.so.5") or path, as a whole. An object that is
/// patched already gets the policy that is given now. Throws ValueError if no such object is
/// loaded, unless it may come later.
FIBER_API std::size_t patch_library(std::string_view name, const PatchOptions& options = {});

/// Puts everything back. Calls that wait at this moment end as patched ones.
FIBER_API void unpatch() noexcept;
FIBER_API void unpatch_library(std::string_view name) noexcept;

/// An object with patched imports.
struct Patched {
  std::string object;                  ///< its path
  std::vector<std::string> functions;  ///< sorted
  Cancel cancel = Cancel::error;
};
/// What is patched now, sorted by object.
FIBER_API std::vector<Patched> patched();

/// The functions for which there are replacements, sorted.
FIBER_API std::vector<std::string> patchable();

/// A function of libc that an object calls, which blocks the thread and cannot be patched.
struct BlockingCall {
  std::string function;
  std::string advice;  ///< what to do about it
};

/// What is known of one loaded object; lists are sorted.
struct ObjectReport {
  std::string object;  ///< its path
  Cancel cancel = Cancel::error;
  std::vector<std::string> patched = {};    ///< imports
  std::vector<std::string> copies = {};     ///< pointers that it had copied, patched as well
  std::vector<std::string> unpatched = {};  ///< imports that could be patched and are not
  std::vector<BlockingCall> blocking = {};
  std::string left_alone = {};  ///< why nothing of it is patched; "" otherwise
};
/// All loaded objects, sorted by path. Pointers that lie in allocated memory are not seen, nor is
/// what machine code does without libc.
FIBER_API std::vector<ObjectReport> report();
/// A few lines for people; one JSON array of objects with the names above.
FIBER_API std::string str(const ObjectReport& object);
FIBER_API std::string json(const std::vector<ObjectReport>& objects);

/// How cancellation reaches the objects that are known to need something else than an error.
struct Policy {
  std::string object;  ///< what its name begins with, up to ".so"
  Cancel cancel;
  std::string tried;  ///< the version
  std::string why;
};
FIBER_API std::vector<Policy> policies();

// --- time for what must be brought to an end -----------------------------------------------------

/// How long, in all, patched calls of the current task may wait again once a call was cut short: a
/// library that sends ROLLBACK or a good-bye and waits for the answer gets it. Being cancelled once
/// more ends that time. 0 at first; at most ten minutes, in steps of 10 ms. Returns the one before.
/// Throws RuntimeError outside of a task, ValueError for a limit out of range.
FIBER_API std::chrono::milliseconds grace();
FIBER_API std::chrono::milliseconds grace(std::chrono::nanoseconds limit);

namespace detail {
class FIBER_API Shield {
 public:
  explicit Shield(std::chrono::nanoseconds limit);
  Shield(const Shield&) = delete;
  Shield& operator=(const Shield&) = delete;
  ~Shield();

 private:
  asyncio::detail::TaskBase* task_;
  std::uint16_t grace_;
  bool shielded_;
};
}  // namespace detail

/// Calls `function` in the current task, and returns what it returns. Cancellation does not cut its
/// patched calls short, but for the time by which all of them together wait longer than `limit`
/// once the task is cancelled. The CancelledError comes afterwards. For a COMMIT:
///
///   monkey::shield(2s, [&] { PQclear(PQexec(connection, "COMMIT")); });
///
/// Throws as grace() does. asyncio::shield protects another task in the same way.
template <class F>
decltype(auto) shield(std::chrono::nanoseconds limit, F&& function) {
  const detail::Shield shield(limit);
  return std::forward<F>(function)();
}

}  // namespace fiber::monkey
