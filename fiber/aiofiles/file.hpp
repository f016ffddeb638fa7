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

/// The file was not opened for what is asked of it. Python: io.UnsupportedOperation.
class FIBER_API UnsupportedOperation : public OSError {
 public:
  using OSError::OSError;
  ~UnsupportedOperation() override;
};

/// Keyword arguments of open.
struct OpenOptions {
  /// How many bytes are read ahead, and how many written ones are kept back until flush(), seek(),
  /// close(); 0: none.
  std::size_t buffering = 64 * 1024;
  mode_t permissions = 0666;  ///< of a new file, less the umask
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

/// Goes through the lines of a file, which it reads when it is moved on: in a task.
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

/// An open file: a counted reference, so that a copy is the same file. Where it says "await it", a
/// call alone does nothing. Calls of several tasks are carried out one after the other, in the
/// order in which they came; all from one loop and its thread. They throw OSError, and ValueError
/// on a file that is closed.
///
/// A read that is cancelled leaves the position as it was, and what it has read for the next one. A
/// write that is cancelled has taken its data all the same: the next call waits for the end of it,
/// and throws its error. The last reference closes the file; what is still to be written then stops
/// the thread, and its errors are lost: close() tells them, and so does the end of asyncio::with().
class FIBER_API File {
 public:
  using counted_handle = void;  ///< for asyncio::with

  File() noexcept = default;

  /// Up to `n` bytes, fewer at the end of the file alone, "" when it has been reached; all that is
  /// left without `n`. Await it.
  auto read(std::ptrdiff_t n = -1) const {
    return asyncio::detail::Deferred([file = *this, n] { return detail::read(file.object(), n); });
  }
  /// What is there already, or what one look at the file brings; await it.
  auto read1(std::ptrdiff_t n = -1) const {
    return asyncio::detail::Deferred([file = *this, n] { return detail::read1(file.object(), n); });
  }
  /// Fills the buffer as far as the file goes; returns how many bytes that were. Await it.
  auto readinto(std::span<char> buffer) const {
    return asyncio::detail::Deferred(
        [file = *this, buffer] { return detail::readinto(file.object(), buffer); });
  }
  /// A line with its '\n', which the last one may lack, of at most `limit` bytes; "" at the end.
  /// Await it.
  auto readline(std::ptrdiff_t limit = -1) const {
    return asyncio::detail::Deferred(
        [file = *this, limit] { return detail::readline(file.object(), limit); });
  }
  /// The lines that are left; await it.
  auto readlines() const {
    return asyncio::detail::Deferred([file = *this] { return detail::readlines(file.object()); });
  }
  /// for (const std::string& line : file), in a task. Python: async for.
  LineIterator begin() const { return LineIterator(ref()); }
  LineIterator end() const noexcept { return {}; }

  /// Takes all of it; returns how many bytes that are. Await it.
  auto write(std::string data) const {
    return asyncio::detail::Deferred([file = *this, data = std::move(data)]() mutable {
      return detail::write(file.object(), std::move(data));
    });
  }
  /// No line ends are added. Await it.
  auto writelines(std::vector<std::string> lines) const {
    return asyncio::detail::Deferred([file = *this, lines = std::move(lines)]() mutable {
      for (std::string& line : lines) detail::write(file.object(), std::move(line));
    });
  }
  /// SEEK_SET, SEEK_CUR, SEEK_END; returns the new position. Await it.
  auto seek(std::int64_t offset, int whence = 0) const {
    return asyncio::detail::Deferred(
        [file = *this, offset, whence] { return detail::seek(file.object(), offset, whence); });
  }
  /// Await it.
  auto tell() const {
    return asyncio::detail::Deferred([file = *this] { return detail::tell(file.object()); });
  }
  /// Makes the file that long, by default as long as the position says; returns that. The position
  /// stays. Await it.
  auto truncate(std::optional<std::int64_t> size = {}) const {
    return asyncio::detail::Deferred(
        [file = *this, size] { return detail::truncate(file.object(), size); });
  }
  /// Gives to the system what was kept back; await it.
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

  bool closed() const;
  bool readable() const;
  bool writable() const;
  /// False of pipes and terminals, which have no position: seek() and tell() throw OSError.
  bool seekable() const;
  bool isatty() const;
  /// Throws ValueError if it is closed. To be neither closed, nor read from or written to.
  int fileno() const;
  const std::string& name() const;  ///< the path as it was given
  const std::string& mode() const;

  /// For asyncio::with: the file, which is closed at the end of the block.
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

/// "<aiofiles.File name='notes' mode='r+'>"
FIBER_API std::string repr(const File& file);
FIBER_API std::ostream& operator<<(std::ostream& out, const File& file);

/// Opens a file; await it, for a File. `mode`: "r" (the default), "w" (emptied or made), "x" (made,
/// FileExistsError if it exists), "a" (written to at its end), and "+" for both reading and
/// writing; "b" and "t" mean nothing here: what is read are the bytes of the file, and the ends of
/// lines are as they are. Throws ValueError for another mode and for a zero byte in the path,
/// FileNotFoundError, PermissionError, IsADirectoryError, OSError.
///
///   asyncio::with(await(aiofiles::open("notes")), [](aiofiles::File& file) {
///     for (const std::string& line : file) std::cout << line;
///   });
inline auto open(std::string path, std::string mode = "r", OpenOptions options = {}) {
  return asyncio::detail::Deferred([path = std::move(path), mode = std::move(mode), options] {
    return detail::open(path, mode, options);
  });
}

/// What carries out the calls of the running loop: "io_uring", or "executor", its default one. The
/// environment variable FIBER_AIOFILES (auto, io_uring, executor) decides before the first of them.
/// Throws RuntimeError outside of a running loop; OSError if io_uring is asked for and cannot be
/// had.
FIBER_API std::string backend();

}  // namespace fiber::aiofiles
