// A file on its way: `.NAME.part`, and beside it `.NAME.info`, which says what the bytes are of.
//
// Rules:
//  1. All names are of one directory, which is opened once; no symbolic link is followed in it.
//  2. What cannot be gone on with later has no name before its end (platform::open_nameless), and so
//     goes with the process; where the system has no such files, it has one that nobody can guess.
//  3. A part is ours alone: it is made with O_EXCL, or is a plain file of this user's without other
//     names, and is locked.
//  4. The info is removed before bytes that it is not for are written, and ends with a line that
//     tells that it is whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fiber::http {

// A name of at most `most` bytes, 64 at least: of a longer one the beginning, a hash of all of it,
// and the extension if that is short.
std::string shortened(std::string_view name, std::size_t most);

class PartFile {
 public:
  // What the bytes are of.
  struct Info {
    std::string url = {};        // that was asked for
    std::string validator = {};  // an entity tag or a date, for If-Range
    std::optional<std::uint64_t> total = {};
  };

  // `resume`: looks for what an earlier run has left. Throws ValueError for a name that is a path,
  // OSError, BlockingIOError if another download of this name goes on.
  PartFile(const std::string& directory, std::string name, bool resume);
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;
  // A part whose info is not there is removed.
  ~PartFile();

  // What is there, and can be gone on with.
  const std::optional<Info>& info() const noexcept { return info_; }
  std::uint64_t size() const noexcept { return size_; }

  // Begins anew, with bytes of this; nothing: they cannot be gone on with later. Throws OSError,
  // BlockingIOError.
  void restart(const std::optional<Info>& info);
  // After restart(), or where there is an info(). Throws OSError.
  void write(std::string_view bytes);
  // Gives it its name. Throws OSError (EEXIST unless `overwrite`).
  void finish(bool overwrite);
  std::string path() const;

 private:
  bool open_existing();
  void open_named();
  void open_nameless();
  void open_random();
  void close(bool remove) noexcept;
  bool lock();
  void read_info();
  void write_info(const Info& info);
  [[noreturn]] void refuse(int error_number, const std::string& name) const;

  std::string directory_;
  std::string name_;
  std::string base_;       // of the names of part and info
  std::string part_name_;  // "": the part has none
  int directory_fd_ = -1;
  int fd_ = -1;
  std::uint64_t size_ = 0;
  std::optional<Info> info_;
  bool done_ = false;
};

}  // namespace fiber::http
