// fiber-run [--children] PROGRAM ARGUMENTS...: runs any program, unchanged, in a task of an event
// loop with every patchable call patched; see fiber_run_library.cpp, which is loaded into the
// program. With --children, the programs that it starts run so as well.
#include "elf_file.hpp"
#include "output.hpp"
#include "script.hpp"

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

namespace {

// The statuses of env(1) and timeout(1).
constexpr int kFailed = 125;
constexpr int kCannotRun = 126;
constexpr int kNotFound = 127;

[[noreturn]] void fail(int status, const std::string& text) {
  std::fprintf(stderr, "fiber-run: %s\n", text.c_str());
  std::exit(status);
}

// Returns the library's path: beside this program, as in a build directory, or where it is
// installed.
std::string library() {
  char path[PATH_MAX] = {};
  const ssize_t size = ::readlink("/proc/self/exe", path, sizeof path - 1);
  const std::string own(path, size > 0 ? static_cast<std::size_t>(size) : 0);
  const std::string directory = own.substr(0, own.rfind('/'));
  for (const std::string& candidate :
       {directory + "/libfiber-run.so", directory + "/" FIBER_RUN_RELATIVE,
        std::string(FIBER_RUN_INSTALLED)})
    if (::access(candidate.c_str(), R_OK) == 0) return candidate;
  fail(kFailed, "its library is missing: " FIBER_RUN_INSTALLED);
}

void refuse_program(const std::string& what, const std::string& path, const struct stat& file) {
  const bool changes_user = ((file.st_mode & S_ISUID) != 0 && file.st_uid != ::geteuid()) ||
                            ((file.st_mode & S_ISGID) != 0 && file.st_gid != ::getegid());
  if (changes_user) fail(kCannotRun, what + " runs as another user: nothing can be loaded into it");
  const fiber::tool::ElfFile elf = fiber::tool::read_elf_file(path);
  if (elf.fault == nullptr && elf.interpreter.empty())
    fail(kCannotRun, what + " is statically linked: nothing can be loaded into it");
}

// Checks the file that the kernel executes in the end: for a script, that is its interpreter, which
// may be a script as well, a few times over; beyond that the kernel itself reports the error.
void refuse_what_cannot_be_run_so(const std::string& name, const std::string& path) {
  if (path.empty()) fail(kNotFound, "there is no program '" + name + "'");
  constexpr int kMostScripts = 5;
  std::string at = path;
  std::string what = "'" + path + "'";
  for (int scripts = 0; scripts <= kMostScripts; ++scripts) {
    struct stat file {};
    if (::stat(at.c_str(), &file) != 0)
      fail(errno == ENOENT ? kNotFound : kCannotRun, what + ": " + std::strerror(errno));
    if (S_ISDIR(file.st_mode)) fail(kCannotRun, what + ": " + std::strerror(EISDIR));
    const std::string interpreter =
        S_ISREG(file.st_mode) ? fiber::tool::interpreter_of_script(at) : std::string();
    if (interpreter.empty()) return refuse_program(what, at, file);
    what = "'" + interpreter + "', the interpreter of '" + at + "'";
    at = interpreter;
  }
}

// Runs a script that names no interpreter, as execvp() does. Returns with errno if that fails.
void run_by_shell(const std::string& path, char** arguments) {
  const std::string shell = "/bin/sh";
  refuse_what_cannot_be_run_so(shell, shell);
  std::vector<char*> all{const_cast<char*>(shell.c_str()), const_cast<char*>(path.c_str())};
  do all.push_back(*arguments);
  while (*arguments++ != nullptr);
  ::execv(shell.c_str(), all.data());
}

constexpr const char* kUsage = "usage: fiber-run [--children] PROGRAM ARGUMENTS...\n";

int help() {
  std::printf(
      "%s\n"
      "Runs a program, unchanged, in a task of an event loop with its blocking calls patched.\n"
      "\n"
      "  --children  run the programs that it starts so as well\n"
      "  --help      print this\n",
      kUsage);
  return fiber::tool::finish_output("fiber-run") ? 0 : kFailed;
}

int run(int count, char** arguments) {
  bool children = false;
  int first = 1;
  for (; first < count && arguments[first][0] == '-'; ++first) {
    const std::string option = arguments[first];
    if (option == "--") {
      ++first;
      break;
    }
    if (option == "--help") return help();
    if (option != "--children") fail(kFailed, "there is no option '" + option + "'");
    children = true;
  }
  if (first >= count) {
    std::fputs(kUsage, stderr);
    return kFailed;
  }
  const std::string name = arguments[first];
  const std::string path = fiber::tool::find_program(name);
  refuse_what_cannot_be_run_so(name, path);
  const std::string preloaded = library();
  if (preloaded.find_first_of(": ") != std::string::npos)
    fail(kFailed, "the linker takes no path with a colon or a space: " + preloaded);
  const char* before = std::getenv("LD_PRELOAD");
  const std::string all =
      before != nullptr && *before != '\0' ? preloaded + ":" + before : preloaded;
  if (::setenv("LD_PRELOAD", all.c_str(), 1) != 0 ||
      (children ? ::setenv("FIBER_RUN_CHILDREN", "1", 1) : ::unsetenv("FIBER_RUN_CHILDREN")) != 0)
    fail(kFailed, std::strerror(errno));
  ::execv(path.c_str(), arguments + first);
  if (errno == ENOEXEC) run_by_shell(path, arguments + first + 1);
  fail(errno == ENOENT ? kNotFound : kCannotRun, "'" + path + "': " + std::strerror(errno));
}

}  // namespace

int main(int count, char** arguments) {
  try {
    return run(count, arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fiber-run: %s\n", error.what());
    return kFailed;
  }
}
