// Asks a loop's thread, which may be blocked, what it does: by a signal, from another thread.
#pragma once

#include <fiber/asyncio/stall.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <pthread.h>

namespace fiber::asyncio::detail {

/// Made on the thread that is to be asked. While it lives, the signal's handler is ours; what it
/// was before gets the signals that answer nobody.
class ThreadQuestion {
 public:
  ThreadQuestion(const LoopObject& loop, int signal);
  ThreadQuestion(const ThreadQuestion&) = delete;
  ThreadQuestion& operator=(const ThreadQuestion&) = delete;
  ~ThreadQuestion();

  /// What it runs, and where. Nothing if it does not answer, as a thread that blocks the signal.
  std::optional<Stall> ask(nanoseconds silence) const;

 private:
  const LoopObject* loop_;
  pthread_t thread_;
  int signal_;
};

/// "function+0x12 (file+0x3456)" of a return address.
std::string describe_frame(void* address);

/// A thread that only looks: signals do not come to it, and it wakes no loop.
class WatcherThread {
 public:
  explicit WatcherThread(std::function<void()> function);
  void join();
  /// False in a child process that was forked since: the thread is not there. It can neither be
  /// joined, nor may the mutexes and condition variables that it used be touched or destroyed.
  bool exists() const noexcept;
  /// How many there are in the process.
  static int count() noexcept;

 private:
  std::thread thread_;
  unsigned process_;
};

/// Destroys what a watcher thread works with; in a child process that does not have the thread the
/// object stays as it is.
template <class T>
void end_watcher(std::unique_ptr<T> watched) noexcept {
  if (watched != nullptr && !watched->exists()) static_cast<void>(watched.release());
}

}  // namespace fiber::asyncio::detail
