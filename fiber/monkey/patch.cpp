// Which imports are patched, and putting them back.
#include <fiber/exceptions.hpp>
#include <fiber/monkey.hpp>
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/image.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/waiting.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <system_error>
#include <unordered_map>

namespace fiber::monkey {
namespace {

using detail::Hook;
using detail::Image;

struct Replacement {
  void* hook;
  void* original;
};

struct Slot {
  std::string object;
  std::uintptr_t base;
  const char* function;  // a hook's name
  void* hook;
  void* before;  // for a function that was never called this is the linker's stub
};

class Registry {
 public:
  static Registry& instance() {
    static Registry registry;
    return registry;
  }
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;
  // This library may be unloaded before the objects that call into it.
  ~Registry() {
    restore_if([](const Slot&) { return true; });
  }

  // How many were patched, of the images chosen; none chosen gives -1.
  template <class Choose>
  std::ptrdiff_t patch_if(Choose choose) {
    detail::prepare_for_fork();
    detail::real();
    const std::lock_guard lock(mutex_);
    std::ptrdiff_t count = 0;
    bool any = false;
    forget_unloaded();
    detail::for_each_image([&](const Image& image) {
      if (!choose(image)) return;
      any = true;
      image.for_each_import([&](const char* name, void** at, bool is_data) {
        const auto found = replacements_.find(name);
        if (found == replacements_.end() || slots_.contains(at)) return;
        const Replacement& replacement = found->second;
        if (is_data && *at != replacement.original) return;
        const Slot slot{image.path(), image.base(), found->first.data(), replacement.hook, *at};
        const auto entry = slots_.emplace(at, slot).first;
        if (image.write(at, replacement.hook))
          ++count;
        else
          slots_.erase(entry);
      });
    });
    return any ? count : -1;
  }

  template <class Choose>
  void restore_if(Choose choose) noexcept {
    const std::lock_guard lock(mutex_);
    detail::for_each_image([&](const Image& image) {
      std::erase_if(slots_, [&](const auto& entry) {
        const auto& [at, slot] = entry;
        if (!belongs_to(slot, at, image) || !choose(slot)) return false;
        // Somebody else may have patched it after us.
        if (*at == slot.hook) image.write(at, slot.before);
        return true;
      });
    });
  }

  std::vector<Patched> list() {
    const std::lock_guard lock(mutex_);
    forget_unloaded();
    std::map<std::string, std::vector<std::string>> by_object;
    for (const auto& [at, slot] : slots_) by_object[slot.object].emplace_back(slot.function);
    std::vector<Patched> all;
    for (auto& [object, functions] : by_object) {
      std::sort(functions.begin(), functions.end());
      functions.erase(std::unique(functions.begin(), functions.end()), functions.end());
      all.push_back({object, std::move(functions)});
    }
    return all;
  }

  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& [name, replacement] : replacements_) all.emplace_back(name);
    std::sort(all.begin(), all.end());
    return all;
  }

 private:
  Registry() {
    for (const auto hooks : {detail::stream_hooks(), detail::splice_hooks(),
                             detail::message_hooks(), detail::socket_hooks(), detail::poll_hooks(),
                             detail::time_hooks(), detail::process_hooks(), detail::signal_hooks(),
                             detail::lock_hooks(), detail::ipc_hooks(), detail::name_hooks()})
      for (const Hook& hook : hooks)
        if (void* original = detail::find_symbol(hook.name))
          replacements_.emplace(hook.name, Replacement{hook.function, original});
  }

  static bool belongs_to(const Slot& slot, const void* at, const Image& image) {
    return image.base() == slot.base && image.path() == slot.object && image.contains(at);
  }

  // An object that was closed; another may lie where it was.
  void forget_unloaded() {
    std::unordered_map<void**, Slot> loaded;
    detail::for_each_image([&](const Image& image) {
      for (auto at = slots_.begin(); at != slots_.end();) {
        const auto next = std::next(at);
        if (belongs_to(at->second, at->first, image) && *at->first == at->second.hook)
          loaded.insert(slots_.extract(at));
        at = next;
      }
    });
    slots_.swap(loaded);
  }

  std::mutex mutex_;
  std::unordered_map<std::string_view, Replacement> replacements_;
  std::unordered_map<void**, Slot> slots_;
};

// libc and what belongs to it, ourselves, and those who stand between.
bool is_untouchable(const Image& image) {
  const std::string name = image.file_name();
  constexpr std::string_view kParts[] = {
      "ld-linux",    "ld-musl",   "ld.so",     "libc.so",         "libc-",   "libpthread",
      "libdl.so",    "librt.so",  "libresolv", "libanl",          "libnss_", "libnsl",
      "libm.so",     "linux-",    "libasan",   "libtsan",         "liblsan", "libubsan",
      "libclang_rt", "vgpreload", "libfiber",  "libboost_context"};
  return std::any_of(std::begin(kParts), std::end(kParts),
                     [&](std::string_view part) { return name.starts_with(part); });
}

bool is_called(const Image& image, std::string_view name) {
  if (image.path() == name || image.file_name() == name || image.soname() == name) return true;
  std::error_code ignored;
  return name.find('/') != std::string_view::npos &&
         std::filesystem::equivalent(image.path(), name, ignored);
}

}  // namespace

std::size_t patch_all() {
  return static_cast<std::size_t>(std::max<std::ptrdiff_t>(
      Registry::instance().patch_if([](const Image& image) { return !is_untouchable(image); }), 0));
}

std::size_t patch_library(std::string_view name) {
  const std::ptrdiff_t count =
      Registry::instance().patch_if([name](const Image& image) { return is_called(image, name); });
  if (count < 0)
    throw ValueError("cannot patch '" + std::string(name) + "': no object of that name is loaded");
  return static_cast<std::size_t>(count);
}

void unpatch() noexcept {
  Registry::instance().restore_if([](const Slot&) { return true; });
}

void unpatch_library(std::string_view name) noexcept {
  std::string path(name);
  detail::for_each_image([&](const Image& image) {
    if (is_called(image, name)) path = image.path();
  });
  Registry::instance().restore_if([&path](const Slot& slot) { return slot.object == path; });
}

std::vector<Patched> patched() { return Registry::instance().list(); }

std::vector<std::string> patchable() { return Registry::instance().names(); }

}  // namespace fiber::monkey
