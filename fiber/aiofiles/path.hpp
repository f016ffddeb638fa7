// Paths with methods that wait. Python: anyio.Path.
#pragma once

#include <fiber/aiofiles/file.hpp>
#include <fiber/aiofiles/os.hpp>

#include <compare>
#include <concepts>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiber::aiofiles {

/// Keyword arguments of Path::mkdir.
struct PathMkdirOptions {
  mode_t mode = 0777;     ///< before the umask applies
  bool parents = false;   ///< makes the directories above, too
  bool exist_ok = false;  ///< true: an existing directory is no error
};
/// Keyword arguments of Path::touch.
struct PathTouchOptions {
  mode_t mode = 0666;    ///< before the umask applies
  bool exist_ok = true;  ///< false: an existing file is a FileExistsError
};
/// Keyword arguments of Path::unlink.
struct PathUnlinkOptions {
  bool missing_ok = false;  ///< true: a missing file is no error
};

class Path;

namespace detail {
/// Returns the text in pathlib's form.
FIBER_API std::string pure_path(std::string_view text);
FIBER_API std::string read_file(const std::string& path);
FIBER_API std::size_t write_file(const std::string& path, std::string data);
FIBER_API void unlink_path(const std::string& path, bool missing_ok);
FIBER_API void make_path(const std::string& path, const PathMkdirOptions& options);
FIBER_API void touch(const std::string& path, const PathTouchOptions& options);
FIBER_API std::vector<Path> entries_of(const std::string& path);
}  // namespace detail

/// A path, as a value, in pathlib's form: without "." and repeated slashes, without a slash at the
/// end, "." for an empty one; ".." stays. Await the functions that use the file system; they throw
/// as those of aiofiles::os.
///
///   aiofiles::Path settings = aiofiles::Path("/etc") / "app" / "settings";
///   std::string text = await(settings.read_text());
class FIBER_API Path {
 public:
  Path() : path_(".") {}
  Path(const std::filesystem::path& path)  // NOLINT(google-explicit-constructor)
      : path_(detail::pure_path(path.native())) {}
  template <class Text>
    requires std::convertible_to<const Text&, std::string_view>
  Path(const Text& path)  // NOLINT(google-explicit-constructor)
      : path_(detail::pure_path(path)) {}

  std::string str() const { return path_.native(); }  ///< the text of the path
  std::string name() const;                           ///< the last part, "" for "." and "/"
  std::string stem() const;                           ///< name() without suffix()
  std::string suffix() const;                         ///< ".gz"; "" for ".hidden" and "end."
  Path parent() const;  ///< "." of a single name; "." and "/" are their own
  /// Replaces the last part. Throws ValueError for what cannot be a name, and without a last part.
  Path with_name(std::string_view name) const;
  Path with_suffix(std::string_view suffix) const;  ///< "" removes it; throws as with_name()
  /// True if it begins with "/".
  bool is_absolute() const { return path_.native().starts_with('/'); }
  const std::filesystem::path& path() const noexcept { return path_; }  ///< for std::filesystem
  /// Joins two paths; returns `b` alone if `b` is absolute.
  friend FIBER_API Path operator/(const Path& a, const Path& b);
  friend bool operator==(const Path& a, const Path& b) noexcept {
    return a.path_.native() == b.path_.native();
  }
  /// Compares part by part.
  friend FIBER_API std::strong_ordering operator<=>(const Path& a, const Path& b) noexcept;

  /// Opens the file; see aiofiles::open.
  auto open(std::string mode = "r", OpenOptions options = {}) const {
    return aiofiles::open(str(), std::move(mode), options);
  }
  /// Returns the bytes of the whole file.
  auto read_bytes() const {
    return asyncio::detail::Deferred([path = str()] { return detail::read_file(path); });
  }
  auto read_text() const { return read_bytes(); }  ///< the same bytes, for UTF-8
  /// Replaces the content of the file, and returns the number of bytes. See write_atomic for a file
  /// that other code may read meanwhile.
  auto write_bytes(std::string data) const {
    return asyncio::detail::Deferred([path = str(), data = std::move(data)]() mutable {
      return detail::write_file(path, std::move(data));
    });
  }
  auto write_text(std::string text) const { return write_bytes(std::move(text)); }  ///< for UTF-8
  /// Replaces the content atomically: see os::atomic_write. Ours, not Python's.
  auto write_atomic(std::string data, os::AtomicWriteOptions options = {}) const {
    return os::atomic_write(str(), std::move(data), options);
  }

  auto exists() const { return os::path::exists(str()); }  ///< false also if it cannot be looked at
  auto is_file() const { return os::path::isfile(str()); }     ///< follows links
  auto is_dir() const { return os::path::isdir(str()); }       ///< follows links
  auto is_symlink() const { return os::path::islink(str()); }  ///< true for a link
  /// Returns the system's struct stat.
  auto stat(os::StatOptions options = {}) const { return os::stat(str(), options); }
  auto lstat() const { return os::lstat(str()); }  ///< of a link itself
  auto samefile(const Path& other) const { return os::path::samefile(str(), other.str()); }
  /// Returns the target of a link, as a Path.
  auto readlink() const {
    return asyncio::detail::Deferred(
        [path = str()] { return Path(asyncio::await(os::readlink(path))); });
  }
  /// Returns the paths of a directory's entries, in no order: a std::vector<Path>.
  auto iterdir() const {
    return asyncio::detail::Deferred([path = str()] { return detail::entries_of(path); });
  }

  /// Makes a directory. Throws FileExistsError unless `exist_ok` is set.
  auto mkdir(PathMkdirOptions options = {}) const {
    return asyncio::detail::Deferred([path = str(), options] { detail::make_path(path, options); });
  }
  auto rmdir() const { return os::rmdir(str()); }  ///< the directory must be empty
  /// Removes a file, or a link.
  auto unlink(PathUnlinkOptions options = {}) const {
    return asyncio::detail::Deferred(
        [path = str(), options] { detail::unlink_path(path, options.missing_ok); });
  }
  /// Makes the file, or sets its times to now.
  auto touch(PathTouchOptions options = {}) const {
    return asyncio::detail::Deferred([path = str(), options] { detail::touch(path, options); });
  }
  auto chmod(mode_t mode) const { return os::chmod(str(), mode); }  ///< follows links
  /// Renames the file, and returns the new path.
  auto rename(Path target) const {
    return asyncio::detail::Deferred([path = str(), target = std::move(target)] {
      asyncio::await(os::rename(path, target.str()));
      return target;
    });
  }
  auto replace(Path target) const { return rename(std::move(target)); }
  /// Makes this path a link to `target`.
  auto symlink_to(const Path& target) const { return os::symlink(target.str(), str()); }
  auto hardlink_to(const Path& target) const { return os::link(target.str(), str()); }

 private:
  std::filesystem::path path_;
};

/// Returns Python's repr: "Path('/etc/hosts')".
FIBER_API std::string repr(const Path& path);
FIBER_API std::ostream& operator<<(std::ostream& out, const Path& path);

}  // namespace fiber::aiofiles
