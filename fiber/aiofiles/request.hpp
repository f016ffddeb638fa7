// A system call on a file that the kernel or a thread carries out while the task that wants it
// waits.
//
// Invariants
//  1. The memory that the call reads or writes belongs to the request, which lives until the call
//     has ended: the kernel never writes to memory of a task that was cancelled.
//  2. complete() is called once for each request that was started, on the loop's thread, at the
//     latest when the loop is closed. There the request drops its references to the loop's objects.
#pragma once

#include <fiber/asyncio/file_descriptor.hpp>
#include <fiber/asyncio/waiter.hpp>
#include <fiber/concurrent/futures.hpp>
#include <fiber/core/ref.hpp>
#include <fiber/standard.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>

namespace fiber::aiofiles::detail {

using asyncio::detail::UniqueFd;

enum class Operation : std::uint8_t {
  open,      ///< path, flags, mode; the descriptor is in `own`
  close,     ///< own
  read,      ///< file, data (its size is the limit), offset
  write,     ///< file, all of data, offset
  sync,      ///< file; flags: not 0 for the data alone
  truncate,  ///< file, offset
  stat,      ///< path, flags; into status
  unlink,    ///< path; flags: AT_REMOVEDIR
  rename,    ///< path, path2
  mkdir,     ///< path, mode
};

/// An offset: the position that the kernel keeps for the open file.
inline constexpr std::int64_t kAtPosition = -1;

class Request;

/// Notified when a request ends after its task has stopped waiting for it.
class Listener {
 public:
  virtual void retain_listener() noexcept = 0;
  virtual void release_listener() noexcept = 0;
  virtual void ended(const Request& request) noexcept = 0;

 protected:
  ~Listener() = default;
};
struct ByListener {
  static void retain(Listener* listener) noexcept { listener->retain_listener(); }
  static void release(Listener* listener) noexcept { listener->release_listener(); }
};

class Request final : public core::SharedCounted<Request> {
 public:
  explicit Request(Operation its_operation) noexcept : operation(its_operation) {}

  /// Takes the result of one attempt, a number or -errno; returns whether to try again.
  bool goes_on(long value) noexcept;
  /// Ends the call, on the thread that made it. Returns the result of the whole call.
  long settle(long value) noexcept;
  /// Wakes the task or notifies the listener; on the loop's thread.
  void complete(long value) noexcept;

  int descriptor() const noexcept { return file != nullptr ? file->get() : borrowed; }
  // The bytes that are read into or written.
  char* bytes() noexcept { return memory != nullptr ? memory : data.data(); }
  std::size_t size() const noexcept { return memory != nullptr ? room : data.size(); }

  // The arguments of the call, unchanged while it runs.
  const Operation operation;
  std::shared_ptr<const UniqueFd> file;  ///< open as long as the call may use it
  // In place of `file` and `data`: a descriptor and memory of a caller that waits for the end.
  int borrowed = -1;
  char* memory = nullptr;
  std::size_t room = 0;
  UniqueFd own;  ///< closed with the request, unless it is taken
  std::string path;
  std::string path2;
  std::string data;
  std::int64_t offset = 0;
  int flags = 0;
  mode_t mode = 0;
  struct ::stat status {};
  /// For a ring, whose kernel writes the status in a form of its own.
  alignas(std::uint64_t) std::byte kernels_status[256] = {};
  std::size_t progress = 0;  ///< the number of bytes of data that are written

  long outcome = 0;  ///< written by the thread that makes the call, before it posts the end

  // For the loop's thread alone.
  bool started = false;  ///< complete() will be called
  bool done = false;
  bool withdrawn = false;  ///< the kernel was asked to cancel the call
  long result = 0;         ///< a number, or -errno
  asyncio::detail::Waiter* waiter = nullptr;
  core::Ref<Listener, ByListener> listener;
  std::optional<concurrent::futures::Future<void>> job;  ///< the call on a thread of the executor
};
using RequestRef = core::Ref<Request>;

/// Makes the call on this thread. Returns a number, or -errno.
long perform(Request& request) noexcept;

}  // namespace fiber::aiofiles::detail
