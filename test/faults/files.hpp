// Files of scenarios: reading one throws the documented exceptions if a fault hits it.
#pragma once

#include <fiber/exceptions/files.hpp>

#include <cerrno>
#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include "support/folder.hpp"

namespace faults {

// Made in the parent, by whose end it is removed: children end without destructors.
inline const support::Folder& folder() {
  static const support::Folder its_folder;
  return its_folder;
}

inline std::string content_of(const std::string& name) {
  struct File {
    int fd;
    ~File() { ::close(fd); }
  } const file{::open((folder() / name).c_str(), O_RDONLY | O_CLOEXEC, 0)};
  std::string all, block(65536, '\0');
  for (;;) {
    const auto count = file.fd < 0 ? -1 : ::read(file.fd, block.data(), block.size());
    if (count < 0) fiber::raise_os_error(errno, name);
    if (count == 0) return all;
    all.append(block, 0, static_cast<std::size_t>(count));
  }
}

// A file with this text and without a name.
class TextFile {
 public:
  explicit TextFile(const std::string& text) {
    char name[] = "/tmp/fiber-faults-XXXXXX";
    fd_ = ::mkstemp(name);
    if (fd_ < 0) fiber::raise_os_error(errno, "mkstemp");
    ::unlink(name);
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t more =
          ::pwrite(fd_, text.data() + done, text.size() - done, static_cast<off_t>(done));
      if (more > 0) done += static_cast<std::size_t>(more);
    }
  }
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;
  ~TextFile() { ::close(fd_); }
  int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

}  // namespace faults
