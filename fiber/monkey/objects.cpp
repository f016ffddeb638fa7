// Identifies objects by name, and has the table of known objects.
#include <fiber/monkey/blocking.hpp>
#include <fiber/monkey/patches.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string_view>

#include <sys/stat.h>

namespace fiber::monkey::detail {
namespace {

// "libc" of "libc.so.6" and of "libc-2.31.so", "libclang_rt.asan-x86_64" of
// "libclang_rt.asan-x86_64.so", "ld-linux-x86-64" of "ld-linux-x86-64.so.2".
std::string_view stem_of(std::string_view file_name) noexcept {
  const std::string_view stem = file_name.substr(0, file_name.find(".so"));
  const std::size_t dash = stem.rfind('-');
  const auto is_version = [](char c) { return (c >= '0' && c <= '9') || c == '.'; };
  if (dash != std::string_view::npos && dash + 1 < stem.size() &&
      std::all_of(stem.begin() + static_cast<std::ptrdiff_t>(dash) + 1, stem.end(), is_version))
    return stem.substr(0, dash);
  return stem;
}

// Whether two paths lead to one file. Allocates no memory.
bool is_one_file(std::string_view first, std::string_view second) noexcept {
  char path[4096];
  struct stat files[2];
  for (int i = 0; i < 2; ++i) {
    const std::string_view each = i == 0 ? first : second;
    if (each.size() >= sizeof path) return false;
    path[each.copy(path, each.size())] = '\0';
    if (::stat(path, &files[i]) != 0) return false;
  }
  return files[0].st_dev == files[1].st_dev && files[0].st_ino == files[1].st_ino;
}

struct Untouchable {
  std::string_view name;
  bool is_beginning;
  const char* why;
};

constexpr const char* kLibc = "a part of libc";
constexpr const char* kOurs = "a part of fiber";
constexpr const char* kTool = "a tool's run-time library";
constexpr Untouchable kUntouchables[] = {
    {"ld-linux", false, kLibc},
    {"ld-linux-", true, kLibc},
    {"ld-musl-", true, kLibc},
    {"ld", false, kLibc},
    {"ld64", false, kLibc},
    {"libc", false, kLibc},
    {"libpthread", false, kLibc},
    {"libdl", false, kLibc},
    {"librt", false, kLibc},
    {"libresolv", false, kLibc},
    {"libanl", false, kLibc},
    {"libnsl", false, kLibc},
    {"libm", false, kLibc},
    {"libmvec", false, kLibc},
    {"libutil", false, kLibc},
    {"libnss_", true, kLibc},
    {"linux-vdso", false, kLibc},
    {"linux-vdso32", false, kLibc},
    {"linux-vdso64", false, kLibc},
    {"linux-gate", false, kLibc},
    {"libasan", false, kTool},
    {"libtsan", false, kTool},
    {"liblsan", false, kTool},
    {"libubsan", false, kTool},
    {"libclang_rt.", true, kTool},
    {"vgpreload_", true, kTool},
    {"libfiber", false, kOurs},
    {"libfiber-aiofiles", false, kOurs},
    {"libfiber-c", false, kOurs},
    {"libfiber-monkey", false, kOurs},
    {"libfiber-monkey-c", false, kOurs},
    {"libfiber-http", false, kOurs},
    {"libfiber-process", false, kOurs},
    {"libfiber-run", false, kOurs},
    {"libfiber-ssl", false, kOurs},
    {"libfiber-web", false, kOurs},
    {"libboost_context", false, kOurs},
    {"libboost_context-mt", false, kOurs},
};

}  // namespace

const char* why_untouchable(const Image& image) noexcept {
  return why_untouchable(image.file_name());
}

const char* why_untouchable(std::string_view file_name) noexcept {
  const std::string_view stem = stem_of(file_name);
  const auto* const found =
      std::find_if(std::begin(kUntouchables), std::end(kUntouchables), [&](const auto& each) {
        return each.is_beginning ? stem.starts_with(each.name) : stem == each.name;
      });
  return found != std::end(kUntouchables) ? found->why : nullptr;
}

bool is_called(const Image& image, std::string_view name) noexcept {
  if (name.empty()) return false;  // as the names that objects do not have
  if (image.path() == name || image.file_name() == name || image.soname() == name) return true;
  return name.find('/') != std::string_view::npos && is_one_file(image.path(), name);
}

Cancel policy_of(const Image& image) {
  const std::string_view stem = stem_of(image.file_name());
  for (const Policy& policy : policies())
    if (stem == policy.object) return policy.cancel;
  return Cancel::error;
}

}  // namespace fiber::monkey::detail

namespace fiber::monkey {

std::vector<Policy> policies() {
  return {
      {"libzmq", Cancel::interrupt, "4.3.4",
       "ends the process when poll() fails with anything but EINTR; zmq_recv() passes EINTR on"},
      {"libuv", Cancel::interrupt, "1.44.2",
       "ends the process when epoll_wait() fails with anything but EINTR; uv_run() goes on after "
       "it"},
      {"libev", Cancel::interrupt, "4.33",
       "ends the process when epoll_wait() fails with anything but EINTR; ev_run() goes on after "
       "it"},
  };
}

}  // namespace fiber::monkey
