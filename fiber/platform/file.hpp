// The functions for open files that a platform has to give, and those for their names that it may
// give. The libraries of the optional parts call the functions with FIBER_API, too.
#pragma once

#include <fiber/config.hpp>

#include <string>
#include <vector>

#include <sys/types.h>

namespace fiber::platform {

struct OpenFile {
  int number = -1;
  // A text that is different for each file, such as "socket:[1234]".
  std::string target;
};
// Returns the open descriptors of the process.
std::vector<OpenFile> open_files();

// Returns a path by which the program's own file can be opened even if it was renamed; null on a
// platform without one, where the caller uses the dynamic linker's name for the file.
const char* program_file() noexcept;

// Returns the path of an open file, without symbolic links; empty if the file has none, or none is
// known. `path` is the one by which it was opened.
FIBER_API std::string path_of(int fd, const std::string& path);

// Returns the process's umask; the usual one on a platform that tells it only by changing it.
FIBER_API mode_t current_umask() noexcept;

// Opens a new file, for appending, that has no name in its directory. Returns -1, with errno, where
// the platform or the file system has no such files.
FIBER_API int open_nameless(int directory, mode_t mode) noexcept;
// Gives the file a name that must be free. Returns 0, or -1 with errno.
FIBER_API int name_file(int fd, int directory, const char* name) noexcept;

}  // namespace fiber::platform
