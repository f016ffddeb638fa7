// A file that is being downloaded: `.NAME.part`, and `.NAME.info` for the origin of its bytes.
//
// Rules:
//  1. All names are in one directory, which is opened once; symbolic links in it are not followed.
//  2. A part that no later run can continue has no name until it is complete
//     (platform::open_nameless), and so disappears with the process; on systems without such files
//     it has an unpredictable name.
//  3. A part is exclusively ours: it was made with O_EXCL, or is a plain file of this user without
//     other names, and it is locked.
//  4. The info is removed before bytes of another origin are written, and its last line marks it as
//     complete.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fiber::http {

// Returns the name, cut to at most `most` bytes, which must be 64 or more: a longer name becomes
// its beginning, a hash of it, and its extension if that is short.
std::string shortened(std::string_view name, std::size_t most);

class PartFile {
 public:
  // The origin of the bytes.
  struct Info {
    std::string url = {};        // as requested
    std::string validator = {};  // an entity tag or a date, for If-Range
    std::optional<std::uint64_t> total = {};
  };

  // `resume`: looks for the part of an earlier run. Throws ValueError for a name that is a path,
  // OSError, BlockingIOError if another download of this name is running.
  PartFile(const std::string& directory, std::string name, bool resume);
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;
  // Removes a part that has no info.
  ~PartFile();

  // Returns the origin of an earlier run's part that can be continued; nothing without such a part.
  const std::optional<Info>& info() const noexcept { return info_; }
  std::uint64_t size() const noexcept { return size_; }

  // Begins anew, with bytes of this origin; nothing: no later run can continue them. Throws
  // OSError, BlockingIOError.
  void restart(const std::optional<Info>& info);
  // Appends bytes; only after restart(), or if there is an info(). Throws OSError.
  void write(std::string_view bytes);
  // Gives the file its final name. Throws OSError (EEXIST unless `overwrite`).
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
  std::string base_;       // the common beginning of the names of part and info
  std::string part_name_;  // "" if the part has no name
  int directory_fd_ = -1;
  int fd_ = -1;
  std::uint64_t size_ = 0;
  std::optional<Info> info_;
  bool done_ = false;
};

}  // namespace fiber::http
