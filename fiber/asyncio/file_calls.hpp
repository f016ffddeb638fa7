// Operations on files that the kernel carries out while a task waits. A hook for floors that may
// not know fiber-aiofiles, which calls io_uring.
#pragma once

#include <fiber/config.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace fiber::asyncio::detail {

class LoopObject;
class Waiter;

struct FileCall {
  enum class Kind : std::uint8_t { read, sync, data_sync };
  Kind kind;
  int fd;
  void* bytes = nullptr;  ///< owned by the caller, who waits for the end of the call
  std::size_t size = 0;
  std::int64_t offset = 0;
};

/// A call that was begun. It must be done before this object ends. Used on the loop's thread.
class FileCallUnderWay {
 public:
  FileCallUnderWay() = default;
  FileCallUnderWay(const FileCallUnderWay&) = delete;
  FileCallUnderWay& operator=(const FileCallUnderWay&) = delete;
  virtual ~FileCallUnderWay() = default;

  virtual bool done() const noexcept = 0;
  /// Returns the result of a call that is done: a number, or -errno.
  virtual long result() const noexcept = 0;
  /// The waiter that is woken when the call is done.
  virtual Waiter** waiter() noexcept = 0;
  /// Stops the thread until the call is done.
  virtual void finish() noexcept = 0;
};

/// Returns null if the call cannot be begun.
using BeginFileCall = std::unique_ptr<FileCallUnderWay> (*)(LoopObject& loop, const FileCall& call);

/// The function that begins calls; null at first. Set by the library fiber-aiofiles when it is
/// loaded.
FIBER_API void set_file_calls(BeginFileCall begin) noexcept;
FIBER_API BeginFileCall file_calls() noexcept;

}  // namespace fiber::asyncio::detail
