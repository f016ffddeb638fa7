// glibc's streams, as the replacements of its functions see them.
#pragma once

#include <fiber/monkey/transfer.hpp>
#include <fiber/monkey/waiting.hpp>

#include <cstddef>
#include <cstdio>

namespace fiber::monkey::detail {

// Flags of the streams, which are a part of glibc's binary interface.
inline constexpr int kUnbuffered = 0x2;
inline constexpr int kNoReads = 0x4;
inline constexpr int kEnd = 0x10;
inline constexpr int kError = 0x20;
inline constexpr int kInBackup = 0x100;  // reads what ungetc() has put back
inline constexpr int kLineBuffered = 0x200;
inline constexpr int kPutting = 0x800;

// Whether reading and writing may wait: not for files on disks.
bool may_wait(int fd) noexcept;

// Waits until the descriptor is ready. Returns true as well if libc's function should be called at
// once: the FIFO has no writer, the descriptor cannot be watched, or libc's call will fail. Returns
// false, with errno and the stream's mark of an error, if the wait was cut short.
bool until_ready(const Call& call, FILE* stream, Direction direction) noexcept;

// One task's turn at a stream, for a whole line or block: libc's lock does not tell the tasks of a
// thread apart.
class Turn {
 public:
  Turn(const Call& call, const FILE* stream) noexcept;
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn();
  // False, with errno set, if the wait for the turn was cut short.
  explicit operator bool() const noexcept { return taken_; }

 private:
  const FILE* stream_;
  const TaskBase* task_;
  bool taken_ = false;
};

// Puts the turns of a task away while a handler runs, which may jump out of the calls that have
// them. Without a jump they are the task's again.
class TurnsPutAway {
 public:
  explicit TurnsPutAway(const TaskBase& task) noexcept;
  TurnsPutAway(const TurnsPutAway&) = delete;
  TurnsPutAway& operator=(const TurnsPutAway&) = delete;
  ~TurnsPutAway();

 private:
  static constexpr std::size_t kMost = 4;
  const TaskBase* task_;
  const FILE* streams_[kMost] = {};
  std::size_t count_ = 0;
};

}  // namespace fiber::monkey::detail
