// Makes blocking calls of libc cooperative in unmodified code: a database client, a TLS library,
// the program itself. In a task, patched calls let other tasks run while they wait; everywhere else
// they behave like libc's. Python: gevent.monkey.
//
//   fiber::monkey::patch_library("libpq.so.5");
//   asyncio::run([] {
//     await(asyncio::gather([] { PQexec(a, "SELECT pg_sleep(1)"); },
//                           [] { PQexec(b, "SELECT pg_sleep(1)"); }));   // one second, one thread
//   });
//
// Patching replaces the imports of loaded objects (the entries of their tables that point to libc's
// functions) and copies of such pointers in their data. So only calls from such an object into libc
// are caught: not calls within libc, as in fscanf(), and not calls by pointers in allocated memory.
// report() lists the functions that still block.
//
// A patched call is cooperative when its thread runs an event loop and, in it, a task. It then
//  - tries without blocking (MSG_DONTWAIT, RWF_NOWAIT), and waits on the loop if it would block;
//  - keeps no record of descriptors and does not change their flags: the kernel is asked for
//    O_NONBLOCK, SO_RCVTIMEO and SO_SNDTIMEO when they matter. Only connect (twice) and writes to
//    /dev/tty, a console or the master of a pseudo-terminal set O_NONBLOCK, each for the length of
//    one system call;
//  - has the results and the errno of the blocking call, except that signals do not interrupt it
//    (EINTR) unless a mask given to ppoll or pselect lets them through, or the signal is the
//    SIGALRM of an alarm() that the task itself has set; and that it fails with EBADF when another
//    task closes the descriptor meanwhile;
//  - is cut short when the task is cancelled or its time is over: with ECANCELED, because no
//    exception may cross a library of C, or as PatchOptions say. The library may react in any way:
//    the CancelledError is thrown at the task's next await, at the end of the scope that limits its
//    time (timeout(), wait_for(), TaskGroup), or at the end of the task, with the exception of the
//    library as its context. So the scope throws TimeoutError even if the library reports "not
//    found". shield() and grace() are for work that must be completed.
//
// If a cancelled task goes on calling, its calls fail at once; for descriptors that do not block,
// instead of EAGAIN. After some rounds each call waits a little first, so that other tasks run, and
// asyncio::StallMonitor shows the task.
//
// In a child that was forked in a task, calls are libc's until the child has left the loop.
//
// Patched calls that wait: read, write, readv, writev, recv*, send*, sendfile, splice, tee,
// vmsplice, accept, connect, poll, select, epoll_wait, sleep and its relatives, wait*, system,
// sigwait and its relatives, locks on files (flock, lockf, fcntl), message queues (mq_*, msg*),
// semop, files on disks (pread, pwrite, fsync, and read and write of files), and, on threads of the
// loop's default executor, getaddrinfo and its relatives. With glibc also mutexes that another task
// of the thread holds, recursive or not, read-write locks, sem_wait, condition variables,
// joining a thread, pthread_once, the static variables of functions, opening a FIFO, reading by
// stdio, and pclose.
//
// Not cooperative: barriers, writing by stdio. asyncio::StallMonitor (asyncio/stall.hpp) finds
// calls that still block; fiber/monkey/README.md explains all of this.
//
// Patching also makes the default stacks of tasks 1 MiB large, for code written for threads.
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
  error,      ///< the call fails with ECANCELED
  interrupt,  ///< the call fails with EINTR: for objects that end the process on any other error
  never,      ///< the call waits to its end, and the task is cancelled afterwards
};

/// Keyword arguments of patch_all and patch_library.
struct PatchOptions {
  /// How calls are cut short. Nothing: as before for an object that is patched already, and else
  /// the object's entry in policies(), or Cancel::error.
  std::optional<Cancel> cancel = {};
  /// Whether to patch also the objects that the named library needs, recursively: libldap's
  /// liblber.
  bool dependencies = false;
  /// Whether to patch objects that the program loads later (dlopen): all objects, or those of the
  /// name, which need not be loaded yet. Nothing: true for patch_all.
  std::optional<bool> future = {};
};

/// Patches the program and every object that it has loaded, except the parts of libc, of this
/// library and of sanitizers. Returns the number of imports replaced; 0 if all had been before. May
/// be called from any thread, like the functions below.
FIBER_API std::size_t patch_all(const PatchOptions& options = {});

/// Patches one loaded object, by its whole name ("libpq.so.5") or path. An object that is
/// patched already gets the policy that `options` name. Throws ValueError if the name is empty, and
/// if no such object is loaded, unless PatchOptions::future is true.
FIBER_API std::size_t patch_library(std::string_view name, const PatchOptions& options = {});

/// Undoes all patching. Calls that wait at this moment end as patched ones.
FIBER_API void unpatch() noexcept;
/// Undoes the patching of one object, by its whole name or path: now, and of one that patch_library
/// expects to be loaded later.
FIBER_API void unpatch_library(std::string_view name) noexcept;

/// An object with patched imports.
struct Patched {
  std::string object;                  ///< its path
  std::vector<std::string> functions;  ///< sorted
  Cancel cancel = Cancel::error;       ///< how cancellation cuts its calls short
};
/// Returns the patched objects, sorted by path.
FIBER_API std::vector<Patched> patched();

/// Returns the functions for which there are replacements, sorted.
FIBER_API std::vector<std::string> patchable();

/// A function of libc that an object calls, which blocks the thread and cannot be patched.
struct BlockingCall {
  std::string function;  ///< its name, such as "pthread_barrier_wait"
  std::string advice;    ///< what to do about it
};

/// The findings about one loaded object; lists are sorted.
struct ObjectReport {
  std::string object;  ///< its path
  /// The policy of a patched object; of others Cancel::error.
  Cancel cancel = Cancel::error;
  std::vector<std::string> patched = {};    ///< imports
  std::vector<std::string> copies = {};     ///< patched copies of pointers in its data
  std::vector<std::string> unpatched = {};  ///< imports that could be patched but are not
  std::vector<BlockingCall> blocking = {};  ///< sorted by function
  std::string left_alone = {};              ///< why the object is not patched; "" otherwise
};
/// Returns reports on all loaded objects, sorted by path. Pointers in allocated memory, and system
/// calls without libc, are not found.
FIBER_API std::vector<ObjectReport> report();
/// Returns a report as a few lines of text.
FIBER_API std::string str(const ObjectReport& object);
/// Returns all reports as one JSON array of objects with the names above.
FIBER_API std::string json(const std::vector<ObjectReport>& objects);

/// How cancellation reaches an object that is known to need another policy than Cancel::error.
struct Policy {
  std::string object;  ///< the beginning of its name, up to ".so"
  Cancel cancel;       ///< the policy that was found to be right
  std::string tried;   ///< the version that was tried
  std::string why;     ///< what goes wrong with Cancel::error
};
/// Returns the objects whose policy is known.
FIBER_API std::vector<Policy> policies();

// --- time for work that must be completed --------------------------------------------------------

/// Returns how long, in all, patched calls of the current task may wait after a call was cut short.
/// 0 by default. Throws RuntimeError outside of a task.
FIBER_API std::chrono::milliseconds grace();
/// Sets that time, so that a library which sends ROLLBACK and waits for the answer receives the
/// answer, and returns the old one. Another cancellation ends the time. At most ten minutes, in
/// steps of 10 ms. Throws RuntimeError outside of a task, ValueError for a limit out of range.
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
  std::uint16_t limit_;
  bool shielded_;
};
}  // namespace detail

/// Calls `function` in the current task, and returns its result. Cancellation does not cut its
/// patched calls short until all of them together have waited for `limit` after the task was
/// cancelled. The CancelledError is thrown afterwards. For a COMMIT:
///
///   monkey::shield(2s, [&] { PQclear(PQexec(connection, "COMMIT")); });
///
/// A shield within has a limit of its own, and uses the time of the outer one, too. Throws like
/// grace(). asyncio::shield protects another task in a similar way.
template <class F>
decltype(auto) shield(std::chrono::nanoseconds limit, F&& function) {
  const detail::Shield shield(limit);
  return std::forward<F>(function)();
}

}  // namespace fiber::monkey
