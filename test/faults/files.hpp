// Files of scenarios: reading one throws the documented exceptions if a fault hits it.
#pragma once

#include <fiber/exceptions/files.hpp>

#include <cerrno>
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

}  // namespace faults
