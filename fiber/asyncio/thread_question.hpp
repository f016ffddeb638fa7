// Asks a loop's thread, which may be blocked, for its current place: by a signal, from another
// thread.
#pragma once

#include <fiber/asyncio/stall.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <pthread.h>

namespace fiber::asyncio::detail {

/// Made on the thread that will be asked. While it lives, the signal has the library's handler;
/// signals that answer no question go to the handler from before.
class ThreadQuestion {
 public:
  ThreadQuestion(const LoopObject& loop, int signal);
  ThreadQuestion(const ThreadQuestion&) = delete;
  ThreadQuestion& operator=(const ThreadQuestion&) = delete;
  ~ThreadQuestion();

  /// Returns the running task and its place. nullopt without an answer, for instance because the
  /// thread blocks the signal.
  std::optional<Stall> ask(nanoseconds silence) const;

 private:
  const LoopObject* loop_;
  pthread_t thread_;
  int signal_;
};

/// Returns "function+0x12 (file+0x3456)" for a return address.
std::string describe_frame(void* address);

/// A thread that only observes: it gets no signals, and wakes no loop.
class WatcherThread {
 public:
  explicit WatcherThread(std::function<void()> function);
  void join();
  /// Returns false in a child process that was forked since: the thread does not exist there. It
  /// cannot be joined, and the mutexes and condition variables that it used must not be touched or
  /// destroyed.
  bool exists() const noexcept;
  /// Returns the number of watcher threads in the process.
  static int count() noexcept;

 private:
  std::thread thread_;
  unsigned process_;
};

/// Destroys the data of a watcher thread; in a child process without the thread the object stays
/// unchanged.
template <class T>
void end_watcher(std::unique_ptr<T> watched) noexcept {
  if (watched != nullptr && !watched->exists()) static_cast<void>(watched.release());
}

}  // namespace fiber::asyncio::detail
