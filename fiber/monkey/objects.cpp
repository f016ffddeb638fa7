// Which object is which: by its name, and what is known of it.
#include <fiber/monkey/blocking.hpp>
#include <fiber/monkey/patches.hpp>

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace fiber::monkey::detail {
namespace {

// "libc" of "libc.so.6" and of "libc-2.31.so", "libclang_rt.asan-x86_64" of
// "libclang_rt.asan-x86_64.so", "ld-linux-x86-64" of "ld-linux-x86-64.so.2".
std::string stem_of(const std::string& file_name) {
  std::string stem = file_name.substr(0, file_name.find(".so"));
  const std::size_t dash = stem.rfind('-');
  const auto is_version = [](char c) { return (c >= '0' && c <= '9') || c == '.'; };
  if (dash != std::string::npos && dash + 1 < stem.size() &&
      std::all_of(stem.begin() + static_cast<std::ptrdiff_t>(dash) + 1, stem.end(), is_version))
    stem.resize(dash);
  return stem;
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
    {"libfiber-monkey", false, kOurs},
    {"libfiber-http", false, kOurs},
    {"libfiber-process", false, kOurs},
    {"libboost_context", false, kOurs},
    {"libboost_context-mt", false, kOurs},
};

}  // namespace

const char* why_untouchable(const Image& image) { return why_untouchable(image.file_name()); }

const char* why_untouchable(const std::string& file_name) {
  const std::string stem = stem_of(file_name);
  const auto* const found =
      std::find_if(std::begin(kUntouchables), std::end(kUntouchables), [&](const auto& each) {
        return each.is_beginning ? stem.starts_with(each.name) : stem == each.name;
      });
  return found != std::end(kUntouchables) ? found->why : nullptr;
}

bool is_called(const Image& image, std::string_view name) {
  if (image.path() == name || image.file_name() == name || image.soname() == name) return true;
  std::error_code ignored;
  return name.find('/') != std::string_view::npos &&
         std::filesystem::equivalent(image.path(), name, ignored);
}

Cancel policy_of(const Image& image) {
  const std::string stem = stem_of(image.file_name());
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
