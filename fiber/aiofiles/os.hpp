// Functions on paths that wait without stopping the loop. Python: aiofiles.os.
//
// Await all of them. They throw OSError (FileNotFoundError, FileExistsError, PermissionError,
// NotADirectoryError and so on), and ValueError for a zero byte in a path.
#pragma once

#include <fiber/asyncio/coroutines.hpp>
#include <fiber/exceptions/files.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/stat.h>

namespace fiber::aiofiles::os {

/// An entry of a directory, as scandir found it. Python: os.DirEntry.
class FIBER_API DirEntry {
 public:
  const std::string& name() const noexcept { return name_; }  ///< without its directory
  /// Returns the name after the directory that was given to scandir.
  const std::string& path() const noexcept { return path_; }
  ino_t inode() const noexcept { return inode_; }  ///< of the entry itself, not of a link's target
  /// Follow links; both return false if the target does not exist. No call waits.
  bool is_dir() const noexcept { return S_ISDIR(type_); }
  bool is_file() const noexcept { return S_ISREG(type_); }  ///< of a regular file
  bool is_symlink() const noexcept { return symlink_; }     ///< of the entry itself

  DirEntry(std::string name, std::string path, ino_t inode, mode_t type, bool symlink)
      : name_(std::move(name)),
        path_(std::move(path)),
        inode_(inode),
        type_(type),
        symlink_(symlink) {}

 private:
  std::string name_;
  std::string path_;
  ino_t inode_;
  mode_t type_;
  bool symlink_;
};

/// Keyword arguments of stat.
struct StatOptions {
  bool follow_symlinks = true;  ///< false: looks at a link itself
};
/// Keyword arguments of makedirs.
struct MakedirsOptions {
  mode_t mode = 0777;     ///< of the last directory, before the umask applies
  bool exist_ok = false;  ///< true: an existing directory is no error
};
/// Keyword arguments of atomic_write.
struct AtomicWriteOptions {
  bool durable = true;        ///< return when the file is on the disk, under its name
  mode_t permissions = 0666;  ///< of a new file, before the umask applies
};

namespace detail {
FIBER_API struct ::stat stat(const std::string& path, bool follow);
FIBER_API void unlink(const std::string& path);
FIBER_API void rmdir(const std::string& path);
FIBER_API void rename(const std::string& from, const std::string& to);
FIBER_API void mkdir(const std::string& path, mode_t mode);
FIBER_API void makedirs(const std::string& path, const MakedirsOptions& options);
FIBER_API void link(const std::string& from, const std::string& to);
FIBER_API void symlink(const std::string& from, const std::string& to);
FIBER_API std::string readlink(const std::string& path);
FIBER_API void chmod(const std::string& path, mode_t mode);
FIBER_API bool access(const std::string& path, int mode);
FIBER_API void truncate(const std::string& path, std::int64_t size);
FIBER_API std::vector<DirEntry> scandir(const std::string& path);
FIBER_API std::vector<std::string> listdir(const std::string& path);
FIBER_API void atomic_write(const std::string& path, std::string data,
                            const AtomicWriteOptions& options);
/// Returns null if the file does not exist or must not be looked at. For Python's os.path.
FIBER_API std::optional<struct ::stat> look(const std::string& path, bool follow);
}  // namespace detail

/// Returns the system's struct stat: st_size, st_mode, st_mtim and so on.
inline auto stat(std::string path, StatOptions options = {}) {
  return asyncio::detail::Deferred(
      [path = std::move(path), options] { return detail::stat(path, options.follow_symlinks); });
}
/// Like stat, for a link itself.
inline auto lstat(std::string path) {
  return os::stat(std::move(path), {.follow_symlinks = false});
}
/// Removes a file, or a link. Await it, like all functions below; they throw OSError.
inline auto unlink(std::string path) {
  return asyncio::detail::Deferred([path = std::move(path)] { detail::unlink(path); });
}
/// Does the same as unlink().
inline auto remove(std::string path) { return os::unlink(std::move(path)); }
/// Removes an empty directory.
inline auto rmdir(std::string path) {
  return asyncio::detail::Deferred([path = std::move(path)] { detail::rmdir(path); });
}
/// Renames `from` to `to`, and replaces `to` atomically: at every moment, `to` is the old file or
/// the new one.
inline auto rename(std::string from, std::string to) {
  return asyncio::detail::Deferred(
      [from = std::move(from), to = std::move(to)] { detail::rename(from, to); });
}
/// Like rename; in Python the two differ on Windows.
inline auto replace(std::string from, std::string to) {
  return os::rename(std::move(from), std::move(to));
}
/// Makes a directory; the umask applies to its mode.
inline auto mkdir(std::string path, mode_t mode = 0777) {
  return asyncio::detail::Deferred([path = std::move(path), mode] { detail::mkdir(path, mode); });
}
/// Makes the directory, and those above it that are missing.
inline auto makedirs(std::string path, MakedirsOptions options = {}) {
  return asyncio::detail::Deferred(
      [path = std::move(path), options] { detail::makedirs(path, options); });
}
/// Makes `to` another name of the file `from`.
inline auto link(std::string from, std::string to) {
  return asyncio::detail::Deferred(
      [from = std::move(from), to = std::move(to)] { detail::link(from, to); });
}
/// Makes `to` a symbolic link to `from`.
inline auto symlink(std::string from, std::string to) {
  return asyncio::detail::Deferred(
      [from = std::move(from), to = std::move(to)] { detail::symlink(from, to); });
}
/// Returns the target of a link, as it was written.
inline auto readlink(std::string path) {
  return asyncio::detail::Deferred([path = std::move(path)] { return detail::readlink(path); });
}
/// Sets the mode of the file, or of a link's target.
inline auto chmod(std::string path, mode_t mode) {
  return asyncio::detail::Deferred([path = std::move(path), mode] { detail::chmod(path, mode); });
}
/// Returns whether this process has access; `mode`: R_OK, W_OK, X_OK, F_OK. Throws no OSError.
inline auto access(std::string path, int mode) {
  return asyncio::detail::Deferred(
      [path = std::move(path), mode] { return detail::access(path, mode); });
}
/// Cuts or extends the file to this number of bytes.
inline auto truncate(std::string path, std::int64_t size) {
  return asyncio::detail::Deferred(
      [path = std::move(path), size] { detail::truncate(path, size); });
}
/// Returns a directory's entries, without "." and "..", in no order: a std::vector<DirEntry>.
inline auto scandir(std::string path = ".") {
  return asyncio::detail::Deferred([path = std::move(path)] { return detail::scandir(path); });
}
/// Returns the names of a directory's entries, like scandir.
inline auto listdir(std::string path = ".") {
  return asyncio::detail::Deferred([path = std::move(path)] { return detail::listdir(path); });
}
/// Writes a whole file atomically: at every moment, even after a crash or a cancellation, `path`
/// has either the old content or the new one. An existing file keeps its permissions; a link is
/// replaced by the file. Ours, not Python's.
inline auto atomic_write(std::string path, std::string data, AtomicWriteOptions options = {}) {
  return asyncio::detail::Deferred(
      [path = std::move(path), data = std::move(data), options]() mutable {
        detail::atomic_write(path, std::move(data), options);
      });
}

/// Questions about the file at a path. Python: aiofiles.os.path.
namespace path {

/// Returns false also if the path cannot be looked at.
inline auto exists(std::string path) {
  return asyncio::detail::Deferred(
      [path = std::move(path)] { return detail::look(path, true).has_value(); });
}
/// Returns whether this is a regular file, or a link to one.
inline auto isfile(std::string path) {
  return asyncio::detail::Deferred([path = std::move(path)] {
    const auto found = detail::look(path, true);
    return found && S_ISREG(found->st_mode);
  });
}
/// Returns whether this is a directory, or a link to one.
inline auto isdir(std::string path) {
  return asyncio::detail::Deferred([path = std::move(path)] {
    const auto found = detail::look(path, true);
    return found && S_ISDIR(found->st_mode);
  });
}
/// Returns whether this is a link, also one that leads nowhere.
inline auto islink(std::string path) {
  return asyncio::detail::Deferred([path = std::move(path)] {
    const auto found = detail::look(path, false);
    return found && S_ISLNK(found->st_mode);
  });
}
/// Returns the number of bytes. Throws OSError.
inline auto getsize(std::string path) {
  return asyncio::detail::Deferred(
      [path = std::move(path)]() -> std::int64_t { return detail::stat(path, true).st_size; });
}
/// Returns whether both paths lead to one file. Throws OSError.
inline auto samefile(std::string a, std::string b) {
  return asyncio::detail::Deferred([a = std::move(a), b = std::move(b)] {
    const auto first = detail::stat(a, true);
    const auto second = detail::stat(b, true);
    return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
  });
}

}  // namespace path

}  // namespace fiber::aiofiles::os
