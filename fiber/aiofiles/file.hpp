// Open files whose calls wait without stopping the loop. Python: aiofiles.open, anyio.open_file.
#pragma once

#include <fiber/asyncio/coroutines.hpp>
#include <fiber/core/ref.hpp>
#include <fiber/exceptions/files.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <iosfwd>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace fiber::aiofiles {

/// The mode of the file does not allow the operation. Python: io.UnsupportedOperation.
class FIBER_API UnsupportedOperation : public OSError {
 public:
  using OSError::OSError;
  ~UnsupportedOperation() override;
};

/// Keyword arguments of open.
struct OpenOptions {
  /// The number of bytes that are read ahead, and of written bytes that are kept back until
  /// flush(), seek() or close(); 0: none.
  std::size_t buffering = 64 * 1024;
  mode_t permissions = 0666;  ///< of a new file, before the umask applies
};

class File;

namespace detail {

class FileObject;

struct FIBER_API FileCounting {
  static void retain(FileObject* object) noexcept;
  static void release(FileObject* object) noexcept;
};

FIBER_API File open(std::string path, const std::string& mode, const OpenOptions& options);
FIBER_API std::string read(FileObject& file, std::ptrdiff_t n);
FIBER_API std::string read1(FileObject& file, std::ptrdiff_t n);
FIBER_API std::size_t readinto(FileObject& file, std::span<char> buffer);
FIBER_API std::string readline(FileObject& file, std::ptrdiff_t limit);
FIBER_API std::vector<std::string> readlines(FileObject& file);
FIBER_API std::size_t write(FileObject& file, std::string data);
FIBER_API std::int64_t seek(FileObject& file, std::int64_t offset, int whence);
FIBER_API std::int64_t tell(FileObject& file);
FIBER_API std::int64_t truncate(FileObject& file, std::optional<std::int64_t> size);
FIBER_API void flush(FileObject& file);
FIBER_API void sync(FileObject& file);
FIBER_API void close(FileObject& file);

}  // namespace detail

/// Iterates over the lines of a file. Each step may wait, so it must be made in a task.
class FIBER_API LineIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = std::string;
  using difference_type = std::ptrdiff_t;
  using pointer = std::string*;
  using reference = std::string&;

  LineIterator() noexcept = default;
  explicit LineIterator(core::Ref<detail::FileObject, detail::FileCounting> file)
      : file_(std::move(file)) {
    ++*this;
  }
  std::string& operator*() const noexcept { return line_; }
  std::string* operator->() const noexcept { return &line_; }
  LineIterator& operator++() {
    line_ = detail::readline(*file_, -1);
    if (line_.empty()) file_ = {};
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const LineIterator& a, const LineIterator& b) noexcept {
    return a.file_ == b.file_;
  }

 private:
  core::Ref<detail::FileObject, detail::FileCounting> file_;
  mutable std::string line_;
};

/// An open file. A counted reference: a copy refers to the same file. Where a comment says "await
/// it", a call alone does nothing. A file belongs to one loop and its thread; calls of several
/// tasks are carried out one after the other, in the order in which they came. They throw OSError,
/// and ValueError on a file that is closed.
///
/// A read that is cancelled leaves the position unchanged, and its bytes for the next read. A write
/// that is cancelled goes on nevertheless: the next call waits for its end, and throws its error.
/// The last reference closes the file: bytes kept back until then are written while the thread
/// waits, and errors are lost; close(), or the end of asyncio::with(), reports them.
class FIBER_API File {
 public:
  using counted_handle = void;  ///< for asyncio::with

  File() noexcept = default;

  /// Returns `n` bytes, fewer only at the end of the file, "" there. A negative `n`: all bytes up
  /// to the end. Await it.
  auto read(std::ptrdiff_t n = -1) const {
    return asyncio::detail::Deferred([file = *this, n] { return detail::read(file.object(), n); });
  }
  /// Returns the bytes read ahead, at most `n`, or else those of one read of the file; await it.
  auto read1(std::ptrdiff_t n = -1) const {
    return asyncio::detail::Deferred([file = *this, n] { return detail::read1(file.object(), n); });
  }
  /// Fills the buffer, or less at the end of the file; returns the number of bytes. Await it.
  auto readinto(std::span<char> buffer) const {
    return asyncio::detail::Deferred(
        [file = *this, buffer] { return detail::readinto(file.object(), buffer); });
  }
  /// Returns a line with its '\n', which the last line may lack, of at most `limit` bytes; "" at
  /// the end. Await it.
  auto readline(std::ptrdiff_t limit = -1) const {
    return asyncio::detail::Deferred(
        [file = *this, limit] { return detail::readline(file.object(), limit); });
  }
  /// Returns the remaining lines; await it.
  auto readlines() const {
    return asyncio::detail::Deferred([file = *this] { return detail::readlines(file.object()); });
  }
  /// For `for (const std::string& line : file)` in a task. Python: async for.
  LineIterator begin() const { return LineIterator(ref()); }
  LineIterator end() const noexcept { return {}; }  ///< the end of the file

  /// Writes all of `data`; returns the number of its bytes. Await it.
  auto write(std::string data) const {
    return asyncio::detail::Deferred([file = *this, data = std::move(data)]() mutable {
      return detail::write(file.object(), std::move(data));
    });
  }
  /// Writes the lines in one piece, without adding line ends. Await it.
  auto writelines(std::vector<std::string> lines) const {
    return asyncio::detail::Deferred([file = *this, lines = std::move(lines)]() mutable {
      std::string all;
      for (const std::string& line : lines) all += line;
      lines.clear();
      detail::write(file.object(), std::move(all));
    });
  }
  /// Moves the position; `whence`: SEEK_SET, SEEK_CUR, SEEK_END. Returns the new one. Await it.
  auto seek(std::int64_t offset, int whence = 0) const {
    return asyncio::detail::Deferred(
        [file = *this, offset, whence] { return detail::seek(file.object(), offset, whence); });
  }
  /// Returns the position. Await it.
  auto tell() const {
    return asyncio::detail::Deferred([file = *this] { return detail::tell(file.object()); });
  }
  /// Sets the length of the file, by default to the position, which does not change; returns the
  /// length. Await it.
  auto truncate(std::optional<std::int64_t> size = {}) const {
    return asyncio::detail::Deferred(
        [file = *this, size] { return detail::truncate(file.object(), size); });
  }
  /// Writes the bytes that were kept back; await it.
  auto flush() const {
    return asyncio::detail::Deferred([file = *this] { detail::flush(file.object()); });
  }
  /// Flushes, and returns when the data is on the disk; await it. Python: os.fsync(f.fileno()).
  auto fsync() const {
    return asyncio::detail::Deferred([file = *this] { detail::sync(file.object()); });
  }
  /// Flushes and closes; does nothing if it is closed already. The file is closed even if this
  /// throws. Await it.
  auto close() const {
    return asyncio::detail::Deferred([file = *this] { detail::close(file.object()); });
  }

  bool closed() const;    ///< true after close()
  bool readable() const;  ///< as the mode says
  bool writable() const;  ///< as the mode says
  /// Returns false for pipes and terminals: they have no position, so seek() and tell() throw.
  bool seekable() const;
  bool isatty() const;  ///< true for a terminal
  /// Throws ValueError if the file is closed. Callers must not close, read or write the descriptor.
  int fileno() const;
  const std::string& name() const;  ///< the path as it was given
  const std::string& mode() const;  ///< the mode as it was given

  /// For asyncio::with, which passes the file to the block and closes it afterwards.
  File& enter() noexcept { return *this; }
  bool exit(const std::exception_ptr& error);

  explicit operator bool() const noexcept { return bool(object_); }
  friend bool operator==(const File&, const File&) noexcept = default;

  explicit File(core::Ref<detail::FileObject, detail::FileCounting> object) noexcept
      : object_(std::move(object)) {}
  const core::Ref<detail::FileObject, detail::FileCounting>& ref() const;
  detail::FileObject& object() const { return *ref(); }

 private:
  core::Ref<detail::FileObject, detail::FileCounting> object_;
};

/// Returns Python's repr: "<aiofiles.File name='notes' mode='r+'>".
FIBER_API std::string repr(const File& file);
FIBER_API std::ostream& operator<<(std::ostream& out, const File& file);

/// Opens a file; await it, for a File. `mode`: "r" (the default), "w" (create, or empty), "x"
/// (create; FileExistsError if it exists), "a" (write at the end), and "+" for both reading and
/// writing. "b" and "t" have no effect: reads return the bytes of the file, with its own line ends.
/// Throws ValueError for any other mode and for a zero byte in the path, FileNotFoundError,
/// PermissionError, IsADirectoryError and other OSErrors.
///
///   asyncio::with(await(aiofiles::open("notes")), [](aiofiles::File& file) {
///     for (const std::string& line : file) std::cout << line;
///   });
inline auto open(std::string path, std::string mode = "r", OpenOptions options = {}) {
  return asyncio::detail::Deferred([path = std::move(path), mode = std::move(mode), options] {
    return detail::open(path, mode, options);
  });
}

/// Returns the mechanism that carries out the calls of the running loop: "io_uring", or "executor"
/// for the loop's default executor. The environment variable FIBER_AIOFILES (auto, io_uring,
/// executor) is read at the loop's first call. Throws RuntimeError outside of a running loop,
/// OSError if FIBER_AIOFILES asks for io_uring and it is not available.
FIBER_API std::string backend();

}  // namespace fiber::aiofiles
