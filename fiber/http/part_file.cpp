#include <fiber/http/part_file.hpp>

#include <fiber/core/unique_fd.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/http/hashes.hpp>
#include <fiber/http/random.hpp>
#include <fiber/http/write_all.hpp>
#include <fiber/platform/file.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fiber::http {
namespace {

constexpr std::string_view first_line = "fiber download 1";
constexpr std::string_view last_line = "end";
constexpr std::size_t most_info = 16 * 1024;
constexpr int new_file = O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
constexpr mode_t usual_mode = 0666;  // before the umask applies

bool is_ours(const struct stat& status) noexcept {
  return S_ISREG(status.st_mode) && status.st_nlink == 1 && status.st_uid == ::geteuid();
}

std::string random_letters() { return random_hex(8); }

// Returns the place at or before `at` where no character is cut.
std::size_t boundary_before(std::string_view text, std::size_t at) noexcept {
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

}  // namespace

std::string shortened(std::string_view name, std::size_t most) {
  if (name.size() <= most) return std::string(name);
  constexpr std::size_t longest_extension = 16, hash_size = 12;
  std::string_view extension = name.substr(std::min(name.rfind('.'), name.size()));
  if (extension.size() > longest_extension) extension = {};
  const std::string mark = "-" + hexdigest(Hash::sha256, name).substr(0, hash_size);
  const std::size_t end = boundary_before(name, most - mark.size() - extension.size());
  return std::string(name.substr(0, end)) + mark + std::string(extension);
}

void PartFile::refuse(int error_number, const std::string& name) const {
  raise_os_error(error_number, (directory_.ends_with('/') ? directory_ : directory_ + "/") + name);
}

PartFile::PartFile(const std::string& directory, std::string name, bool resume)
    : directory_(directory), name_(std::move(name)) {
  const bool leads_elsewhere = name_.empty() || name_ == "." || name_ == ".." ||
                               name_.find('/') != name_.npos || name_.find('\0') != name_.npos;
  if (leads_elsewhere)
    throw ValueError("'" + name_ +
                     "' is not the bare name of a file: pass its directory separately");
  base_ = "." + shortened(name_, 200);
  directory_fd_ = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory_fd_ < 0) raise_os_error(errno, directory);
  try {
    if (resume && open_existing()) {
      read_info();
      if (!info_) {
        ::unlinkat(directory_fd_, (base_ + ".info").c_str(), 0);
        close(true);
      }
    }
  } catch (...) {
    close(false);
    ::close(directory_fd_);
    throw;
  }
}

PartFile::~PartFile() {
  close(!done_ && !info_);
  ::close(directory_fd_);
}

// Removes the part while it is locked, so that no other process writes to it.
void PartFile::close(bool remove) noexcept {
  if (fd_ < 0) return;
  if (remove && !part_name_.empty()) ::unlinkat(directory_fd_, part_name_.c_str(), 0);
  ::close(std::exchange(fd_, -1));
  size_ = 0;
}

// Returns false if another process has completed and renamed the file meanwhile.
bool PartFile::lock() {
  while (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    if (error == EINTR) continue;
    close(false);  // another process has it
    if (error == EWOULDBLOCK)
      raise_os_error(EWOULDBLOCK,
                     "another download of '" + name_ + "' to '" + directory_ + "' is running");
    refuse(error, part_name_);
  }
  struct stat opened, named;
  return ::fstat(fd_, &opened) == 0 &&
         ::fstatat(directory_fd_, part_name_.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

// Returns false if there is no part, or one that this process must not use (rule 3).
bool PartFile::open_existing() {
  part_name_ = base_ + ".part";
  for (;;) {
    fd_ = ::openat(directory_fd_, part_name_.c_str(),
                   O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd_ < 0) return false;
    struct stat status {};
    const bool ours = ::fstat(fd_, &status) == 0 && is_ours(status);
    if (ours && lock()) {
      if (::fstat(fd_, &status) != 0) refuse(errno, part_name_);
      size_ = static_cast<std::uint64_t>(status.st_size);
      return true;
    }
    close(false);
    if (!ours) return false;
  }
}

void PartFile::open_named() {
  for (;;) {
    part_name_ = base_ + ".part";
    fd_ = ::openat(directory_fd_, part_name_.c_str(), new_file, usual_mode);
    if (fd_ >= 0 && lock()) return;
    const int error = errno;
    const bool made = fd_ >= 0;
    close(false);
    if (made || error == EINTR || (error == EEXIST && open_existing())) {
      if (fd_ >= 0) return;
      continue;
    }
    if (error != EEXIST) refuse(error, part_name_);
    // The name belongs to another user's file, or to something that is no plain file.
    return open_random();
  }
}

void PartFile::open_nameless() {
  part_name_.clear();
  fd_ = platform::open_nameless(directory_fd_, usual_mode);
  if (fd_ < 0) open_random();
}

void PartFile::open_random() {
  do {
    part_name_ = base_ + "." + random_letters() + ".part";
    fd_ = ::openat(directory_fd_, part_name_.c_str(), new_file, usual_mode);
  } while (fd_ < 0 && (errno == EINTR || errno == EEXIST));
  if (fd_ < 0) refuse(errno, part_name_);
}

void PartFile::read_info() {
  const core::UniqueFd file(::openat(directory_fd_, (base_ + ".info").c_str(),
                                     O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status;
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0 || !is_ours(status)) return;
  std::string text(most_info, '\0');
  const ssize_t count = ::read(file.get(), text.data(), text.size());
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  std::array<std::string_view, 5> lines;
  std::string_view rest = text;
  for (std::string_view& line : lines) {
    const auto end = rest.find('\n');
    if (end == rest.npos) return;
    line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
  }
  if (lines[0] != first_line || lines[4] != last_line || lines[2].empty() || !rest.empty()) return;
  Info info{std::string(lines[1]), std::string(lines[2]), std::nullopt};
  if (!lines[3].empty()) {
    std::uint64_t total = 0;
    const auto [end, error] =
        std::from_chars(lines[3].data(), lines[3].data() + lines[3].size(), total);
    if (error != std::errc() || end != lines[3].data() + lines[3].size() || total < size_) return;
    info.total = total;
  }
  info_ = std::move(info);
}

void PartFile::write_info(const Info& info) {
  std::string text(first_line);
  for (const std::string& line :
       {info.url, info.validator, info.total ? std::to_string(*info.total) : std::string()}) {
    if (line.find('\n') != line.npos) return;
    (text += '\n') += line;
  }
  ((text += '\n') += last_line) += '\n';
  if (text.size() > most_info) return;
  const core::UniqueFd file(::openat(directory_fd_, (base_ + ".info").c_str(),
                                     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                                     usual_mode));
  if (file.get() >= 0 && write_all(file.get(), text)) info_ = info;
}

void PartFile::restart(const std::optional<Info>& info) {
  const bool had_info = std::exchange(info_, std::nullopt).has_value();
  const std::string usual = base_ + ".part";
  if (had_info || info) ::unlinkat(directory_fd_, (base_ + ".info").c_str(), 0);
  if (info.has_value() != (part_name_ == usual)) close(true);
  if (fd_ < 0) {
    if (info)
      open_named();
    else
      open_nameless();
  }
  if (::ftruncate(fd_, 0) != 0) refuse(errno, part_name_);
  size_ = 0;
  if (info && part_name_ == usual) write_info(*info);
}

void PartFile::write(std::string_view bytes) {
  if (!write_all(fd_, bytes)) {
    const int error = errno;
    // Some of the bytes may have been written: only the file tells.
    if (struct stat status; ::fstat(fd_, &status) == 0)
      size_ = static_cast<std::uint64_t>(status.st_size);
    refuse(error, part_name_);
  }
  size_ += bytes.size();
}

void PartFile::finish(bool overwrite) {
  const auto link = [&](const std::string& name) {
    return part_name_.empty()
               ? platform::name_file(fd_, directory_fd_, name.c_str())
               : ::linkat(directory_fd_, part_name_.c_str(), directory_fd_, name.c_str(), 0);
  };
  if (!overwrite) {
    // Unlike a rename, a link replaces nothing.
    if (link(name_) != 0) refuse(errno, name_);
    if (!part_name_.empty()) ::unlinkat(directory_fd_, part_name_.c_str(), 0);
  } else {
    if (part_name_.empty()) {
      const std::string between = base_ + "." + random_letters() + ".part";
      if (link(between) != 0) refuse(errno, between);
      part_name_ = between;
    }
    if (::renameat(directory_fd_, part_name_.c_str(), directory_fd_, name_.c_str()) != 0)
      refuse(errno, name_);
  }
  done_ = true;
  if (info_) ::unlinkat(directory_fd_, (base_ + ".info").c_str(), 0);
}

std::string PartFile::path() const {
  return directory_.ends_with('/') ? directory_ + name_ : directory_ + "/" + name_;
}

}  // namespace fiber::http
