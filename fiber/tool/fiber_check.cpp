// fiber-check [--json] PROGRAM|PID|LIBRARY...: which calls of an object and of all that it needs
// can be made cooperative by monkey::patch_all(), and which block all the same. Reads files; runs
// nothing of them. Of a process it looks at what is loaded at that moment.
#include <fiber/monkey.hpp>
#include <fiber/monkey/blocking.hpp>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include <elf.h>
#include <link.h>
#include <unistd.h>

namespace {

namespace monkey = fiber::monkey;

std::string contents_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// A table of an ELF file; empty if it does not lie in the file.
template <class T>
std::vector<T> table_at(const std::string& file, std::size_t offset, std::size_t bytes) {
  if (offset > file.size() || bytes > file.size() - offset) return {};
  std::vector<T> all(bytes / sizeof(T));
  std::memcpy(all.data(), file.data() + offset, all.size() * sizeof(T));
  return all;
}

struct Elf {
  bool is_valid = false;
  bool is_dynamic = false;
  std::string interpreter;
  std::set<std::string> imports;
};

Elf read_elf(const std::string& path) {
  Elf elf;
  const std::string file = contents_of(path);
  const auto headers = table_at<ElfW(Ehdr)>(file, 0, sizeof(ElfW(Ehdr)));
  if (headers.empty() || std::memcmp(headers[0].e_ident, ELFMAG, SELFMAG) != 0 ||
      headers[0].e_ident[EI_CLASS] != (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32))
    return elf;
  elf.is_valid = true;
  const ElfW(Ehdr)& header = headers[0];
  for (const auto& segment :
       table_at<ElfW(Phdr)>(file, header.e_phoff, header.e_phnum * sizeof(ElfW(Phdr))))
    if (segment.p_type == PT_INTERP && segment.p_filesz > 1 && segment.p_offset < file.size())
      elf.interpreter = file.substr(segment.p_offset, segment.p_filesz - 1);
  const auto sections =
      table_at<ElfW(Shdr)>(file, header.e_shoff, header.e_shnum * sizeof(ElfW(Shdr)));
  for (const auto& section : sections) {
    if (section.sh_type != SHT_DYNSYM || section.sh_link >= sections.size()) continue;
    elf.is_dynamic = true;
    const ElfW(Shdr)& strings = sections[section.sh_link];
    const auto names = table_at<char>(file, strings.sh_offset, strings.sh_size);
    for (const auto& symbol : table_at<ElfW(Sym)>(file, section.sh_offset, section.sh_size))
      if (symbol.st_shndx == SHN_UNDEF && symbol.st_name != 0 && symbol.st_name < names.size())
        elf.imports.insert(
            std::string(names.data() + symbol.st_name,
                        ::strnlen(names.data() + symbol.st_name, names.size() - symbol.st_name)));
  }
  return elf;
}

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

// The first "/path" that stands alone or behind "=>".
std::string path_in(const std::string& line) {
  const std::size_t arrow = line.find("=> /");
  const std::size_t begin = arrow != std::string::npos ? arrow + 3 : line.find_first_not_of(" \t");
  if (begin == std::string::npos || line[begin] != '/') return {};
  return line.substr(begin, line.find(" (", begin) - begin);
}

// A program in PATH, or a library that the linker knows.
std::string find_file(const std::string& name) {
  if (name.find('/') != std::string::npos || ::access(name.c_str(), R_OK) == 0) return name;
  const char* list = std::getenv("PATH");
  std::string directories = list != nullptr ? list : "";
  for (std::size_t at = 0; at < directories.size();) {
    const std::size_t end = std::min(directories.find(':', at), directories.size());
    const std::string path = directories.substr(at, end - at) + "/" + name;
    if (::access(path.c_str(), X_OK) == 0) return path;
    at = end + 1;
  }
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

std::vector<std::string> with_needed(const std::string& path) {
  std::vector<std::string> paths{path};
  std::string interpreter = read_elf(path).interpreter;
  if (interpreter.empty()) interpreter = read_elf("/proc/self/exe").interpreter;
  if (interpreter.empty()) return paths;
  for (const std::string& line :
       lines_of(for_shell(interpreter) + " --list " + for_shell(path) + " 2>/dev/null")) {
    const std::string needed = path_in(line);
    if (!needed.empty() && ::access(needed.c_str(), R_OK) == 0) paths.push_back(needed);
  }
  return paths;
}

monkey::ObjectReport report_on(const std::string& path, const std::set<std::string>& patchable) {
  monkey::ObjectReport report{.object = path};
  const Elf elf = read_elf(path);
  const std::string file_name = path.substr(path.rfind('/') + 1);
  if (!elf.is_valid) {
    report.left_alone = "not an object of this kind of processor";
  } else if (!elf.is_dynamic) {
    report.left_alone = "statically linked: it has no imports that could be replaced";
  } else if (const char* why = monkey::detail::why_untouchable(file_name)) {
    report.left_alone = why;
  } else {
    for (const std::string& name : elf.imports) {
      if (patchable.contains(name))
        report.unpatched.push_back(name);
      else if (const auto advice = monkey::detail::advice_on(name); !advice.empty())
        report.blocking.push_back({name, std::string(advice)});
    }
  }
  return report;
}

}  // namespace

int main(int count, char** arguments) {
  bool as_json = false;
  std::vector<std::string> names;
  for (int i = 1; i < count; ++i) {
    if (std::strcmp(arguments[i], "--json") == 0)
      as_json = true;
    else
      names.emplace_back(arguments[i]);
  }
  if (names.empty()) {
    std::fputs("usage: fiber-check [--json] PROGRAM|PID|LIBRARY...\n", stderr);
    return 2;
  }
  const std::vector<std::string> all_patchable = monkey::patchable();
  const std::set<std::string> patchable(all_patchable.begin(), all_patchable.end());
  std::set<std::string> seen;
  std::vector<monkey::ObjectReport> reports;
  int status = 0;
  for (const std::string& name : names) {
    const bool is_process =
        std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
    const std::string path = is_process ? std::string() : find_file(name);
    const std::vector<std::string> objects =
        is_process ? objects_of_process(name)
                   : (path.empty() || ::access(path.c_str(), R_OK) != 0 ? std::vector<std::string>()
                                                                        : with_needed(path));
    if (objects.empty()) {
      std::fprintf(stderr, "fiber-check: there is no program, process or library '%s' to read\n",
                   name.c_str());
      status = 1;
    }
    for (const std::string& object : objects)
      if (seen.insert(object).second) reports.push_back(report_on(object, patchable));
  }
  if (as_json)
    std::fputs(monkey::json(reports).c_str(), stdout);
  else
    for (const monkey::ObjectReport& report : reports)
      std::fputs(monkey::str(report).c_str(), stdout);
  return status;
}
