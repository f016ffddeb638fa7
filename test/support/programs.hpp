// Programs of the machine that tests start.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include <unistd.h>

namespace support {

// Returns the path of a program, searched in `folders`, in PATH and in Debian's folders of servers;
// "" if it is missing.
inline std::string find_program(const std::string& name, std::vector<std::string> folders = {}) {
  const char* const path = std::getenv("PATH");
  std::istringstream rest(path != nullptr ? path : "/usr/bin");
  for (std::string folder; std::getline(rest, folder, ':');) folders.push_back(folder);
  folders.insert(folders.end(), {"/usr/sbin", "/usr/local/sbin"});
  for (const std::string& folder : folders)
    if (::access((folder + "/" + name).c_str(), X_OK) == 0) return folder + "/" + name;
  return "";
}

// Returns the folders of PostgreSQL's own programs, the newest version's first.
inline std::vector<std::string> postgresql_folders() {
  std::vector<std::string> folders;
  const std::filesystem::path versions = "/usr/lib/postgresql";
  if (std::filesystem::exists(versions))
    for (const auto& version : std::filesystem::directory_iterator(versions))
      folders.push_back(version.path() / "bin");
  std::sort(folders.rbegin(), folders.rend());
  return folders;
}

}  // namespace support
