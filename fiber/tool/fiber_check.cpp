// fiber-check [--json] PROGRAM|PID|LIBRARY...: reports which calls of an object and of all objects
// that it needs monkey::patch_all() can make cooperative, and which block all the same. Reads files
// and runs none of their code. For a process, the objects that are loaded at that moment count.
#include <fiber/monkey.hpp>
#include <fiber/monkey/blocking.hpp>

#include "elf_file.hpp"
#include "output.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

namespace monkey = fiber::monkey;
using fiber::tool::ElfFile;
using fiber::tool::read_elf_file;

std::vector<std::string> lines_of(const std::string& command) {
  std::vector<std::string> lines;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return lines;
  char* line = nullptr;
  std::size_t room = 0;
  for (ssize_t size = 0; (size = ::getline(&line, &room, pipe)) > 0;)
    lines.emplace_back(line, static_cast<std::size_t>(size - (line[size - 1] == '\n' ? 1 : 0)));
  std::free(line);
  ::pclose(pipe);
  return lines;
}

std::string for_shell(const std::string& word) {
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// Returns the first "/path" that stands alone or behind "=>".
std::string path_in(const std::string& line) {
  const std::size_t arrow = line.find("=> /");
  const std::size_t begin = arrow != std::string::npos ? arrow + 3 : line.find_first_not_of(" \t");
  if (begin == std::string::npos || line[begin] != '/') return {};
  return line.substr(begin, line.find(" (", begin) - begin);
}

// Returns the path of a program in PATH, or of a library that the linker knows.
std::string find_file(const std::string& name) {
  if (name.find('/') != std::string::npos || ::access(name.c_str(), R_OK) == 0) return name;
  if (std::string path = fiber::tool::find_program(name); !path.empty()) return path;
  for (const std::string& line : lines_of("/sbin/ldconfig -p 2>/dev/null"))
    if (line.find("\t" + name + " (") != std::string::npos) return path_in(line);
  return {};
}

std::vector<std::string> objects_of_process(const std::string& pid) {
  std::vector<std::string> paths;
  std::ifstream maps("/proc/" + pid + "/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t at = line.find('/');
    if (at == std::string::npos || line.find(" r-xp ") == std::string::npos) continue;
    std::string path = line.substr(at);
    if (std::find(paths.begin(), paths.end(), path) == paths.end())
      paths.push_back(std::move(path));
  }
  return paths;
}

bool is_file(const std::string& path) {
  struct stat file {};
  return ::stat(path.c_str(), &file) == 0 && S_ISREG(file.st_mode);
}

std::vector<std::string> with_needed(const std::string& path) {
  std::vector<std::string> paths{path};
  if (!is_file(path)) return paths;
  // The file's own interpreter is a program that the file's author has chosen: only ours is run.
  const std::string interpreter = read_elf_file("/proc/self/exe").interpreter;
  const std::string wanted = read_elf_file(path).interpreter;
  if (interpreter.empty() || (!wanted.empty() && wanted != interpreter)) return paths;
  for (const std::string& line :
       lines_of(for_shell(interpreter) + " --list " + for_shell(path) + " 2>/dev/null")) {
    const std::string needed = path_in(line);
    if (!needed.empty() && ::access(needed.c_str(), R_OK) == 0) paths.push_back(needed);
  }
  return paths;
}

monkey::ObjectReport report_on(const std::string& path, const std::set<std::string>& patchable) {
  monkey::ObjectReport report{.object = path};
  const ElfFile elf = read_elf_file(path);
  const std::string file_name = path.substr(path.rfind('/') + 1);
  if (elf.fault != nullptr) {
    report.left_alone = elf.fault;
  } else if (!elf.is_dynamic) {
    report.left_alone = "statically linked: it has no imports that could be replaced";
  } else if (!elf.has_symbols) {
    report.left_alone = "it has no table of sections: its imports cannot be read";
  } else if (const char* why = monkey::detail::why_untouchable(file_name)) {
    report.left_alone = why;
  } else {
    for (const std::string& name : elf.imports) {
      const bool is_patchable = patchable.contains(name);
      if (is_patchable) report.unpatched.push_back(name);
      if (const auto advice = monkey::detail::advice_on(name, is_patchable); !advice.empty())
        report.blocking.push_back({name, std::string(advice)});
    }
  }
  return report;
}

// Prints why there is nothing to read: `error` is 0 or an errno.
void tell(const std::string& name, const std::string& what, int error) {
  if (error == ENOENT || error == ENOTDIR || what.empty())
    std::fprintf(stderr, "fiber-check: there is no program, process or library '%s' to read\n",
                 name.c_str());
  else
    std::fprintf(stderr, "fiber-check: %s: %s\n", what.c_str(),
                 error != 0 ? std::strerror(error) : "it has ended, or is a thread of the kernel");
}

// Whether a file of /proc can be opened: its permissions do not say.
int error_of_opening(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  ::close(fd);
  return 0;
}

// Return the objects that an argument stands for; print why if there are none.
std::vector<std::string> objects_by_number(const std::string& pid) {
  std::vector<std::string> objects = objects_of_process(pid);
  if (objects.empty()) tell(pid, "process " + pid, error_of_opening("/proc/" + pid + "/maps"));
  return objects;
}
std::vector<std::string> objects_by_name(const std::string& name) {
  const std::string path = find_file(name);
  if (path.empty() || ::access(path.c_str(), R_OK) != 0) {
    tell(name, path.empty() ? path : "'" + path + "'", errno);
    return {};
  }
  if (const char* fault = read_elf_file(path).fault) {
    std::fprintf(stderr, "fiber-check: '%s' is %s\n", path.c_str(), fault);
    return {};
  }
  return with_needed(path);
}
std::vector<std::string> objects_of(const std::string& name) {
  const bool is_process =
      !name.empty() &&
      std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  return is_process ? objects_by_number(name) : objects_by_name(name);
}

constexpr const char* kUsage = "usage: fiber-check [--json] PROGRAM|PID|LIBRARY...\n";

int help() {
  std::printf(
      "%s\n"
      "Says for an object, and for all that it needs, which blocking calls can be made\n"
      "cooperative, and which block all the same. Reads files and runs none of their code.\n"
      "\n"
      "  --json  print the same as JSON\n"
      "  --help  print this\n",
      kUsage);
  return fiber::tool::finish_output("fiber-check") ? 0 : 1;
}

int check(const std::vector<std::string>& names, bool as_json) {
  const std::vector<std::string> all_patchable = monkey::patchable();
  const std::set<std::string> patchable(all_patchable.begin(), all_patchable.end());
  std::set<std::string> seen;
  std::vector<monkey::ObjectReport> reports;
  int status = 0;
  for (const std::string& name : names) {
    const std::vector<std::string> objects = objects_of(name);
    if (objects.empty()) status = 1;
    for (const std::string& object : objects)
      if (seen.insert(object).second) reports.push_back(report_on(object, patchable));
  }
  if (as_json)
    std::fputs(monkey::json(reports).c_str(), stdout);
  else
    for (const monkey::ObjectReport& report : reports)
      std::fputs(monkey::str(report).c_str(), stdout);
  return fiber::tool::finish_output("fiber-check") ? status : 1;
}

}  // namespace

int main(int count, char** arguments) {
  bool as_json = false;
  bool takes_options = true;
  std::vector<std::string> names;
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    if (!takes_options || !argument.starts_with('-')) {
      names.push_back(argument);
    } else if (argument == "--") {
      takes_options = false;
    } else if (argument == "--json") {
      as_json = true;
    } else if (argument == "--help") {
      return help();
    } else {
      std::fprintf(stderr, "fiber-check: there is no option '%s': see fiber-check --help\n",
                   argument.c_str());
      return 2;
    }
  }
  if (names.empty()) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  return check(names, as_json);
}
