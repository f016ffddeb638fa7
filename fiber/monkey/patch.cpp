// The registry of patched imports: patches and restores them.
#include <fiber/exceptions.hpp>
#include <fiber/monkey.hpp>
#include <fiber/monkey/call_lists.hpp>
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/image.hpp>
#include <fiber/monkey/patches.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/stacks.hpp>
#include <fiber/monkey/state.hpp>
#include <fiber/monkey/threads.hpp>
#include <fiber/monkey/waiting.hpp>

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

namespace fiber::monkey {
namespace {

using detail::Hook;
using detail::Image;

struct Replacement {
  const Hook* hook;
  void* original;
};

struct Slot {
  std::string object;
  std::uintptr_t base;
  const Hook* hook;
  Cancel cancel;
  bool is_copy;
  bool is_chosen;  // false: patched only because the function wakes tasks
  void* before;    // the linker's stub if the function was never called

  void* function() const noexcept { return hook->functions[static_cast<int>(cancel)]; }
};

// An object that is to be patched when it is loaded.
struct Future {
  std::string name;  // empty: everything
  std::optional<Cancel> cancel;
  bool dependencies;
};

// The policy for an object that is to be patched. A policy that this call does not name yields
// to the one with which the object is patched already.
struct Choice {
  Cancel cancel;
  bool is_named;
};

// The one import that is patched in every object: it reports objects that are loaded later.
bool tells_of_newcomers(std::string_view function) { return function == "dlopen"; }

#if defined(FIBER_ASAN) || defined(FIBER_TSAN)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

class Registry {
 public:
  static Registry& instance() {
    static Registry registry;
    return registry;
  }
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;
  // Restores all imports: this library may be unloaded before the objects that call into it.
  ~Registry() {
    restore_if([](const Image&) { return true; });
  }

  // Patches the images for which `choose(image)` returns a Choice. Returns the number of patched
  // imports; -1 if no image was chosen.
  template <class Choose>
  std::ptrdiff_t patch_if(Choose choose) {
    detail::prepare_for_fork();
    detail::real();
    detail::real_threads();
    const std::lock_guard lock(mutex_);
    detail::find_state_of_libraries();
    detail::find_call_lists();
    return patch_locked(choose);
  }

  // Remembers an object that may be loaded later, and patches dlopen in every object.
  void expect(Future future) {
    {
      const std::lock_guard lock(mutex_);
      std::erase_if(futures_, [&](const Future& each) { return each.name == future.name; });
      futures_.push_back(std::move(future));
    }
    patch_if([](const Image&) { return std::optional<Choice>(); });
  }
  void expect_nothing(std::string_view name) noexcept {
    const std::lock_guard lock(mutex_);
    std::erase_if(futures_, [&](const Future& each) { return name.empty() || each.name == name; });
  }
  std::vector<Future> expected() {
    const std::lock_guard lock(mutex_);
    return futures_;
  }

  template <class Choose>
  void restore_if(Choose choose) noexcept {
    const std::lock_guard lock(mutex_);
    restore_locked(choose);
    // Without a chosen object, no task waits for the others.
    if (std::none_of(slots_.begin(), slots_.end(), [](const auto& entry) {
          return entry.second.is_chosen && !tells_of_newcomers(entry.second.hook->name);
        }))
      restore_locked([this](const Image&) { return futures_.empty(); });
    else
      patch_those_that_wake();
  }

  std::vector<detail::PatchedImport> list() {
    const std::lock_guard lock(mutex_);
    forget_unloaded();
    std::vector<detail::PatchedImport> all;
    for (const auto& [at, slot] : slots_)
      if (slot.is_chosen) all.push_back({slot.object, slot.hook->name, slot.cancel, slot.is_copy});
    return all;
  }

  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& [name, replacement] : replacements_)
      if (!tells_of_newcomers(name)) all.emplace_back(name);
    std::sort(all.begin(), all.end());
    return all;
  }

 private:
  Registry() {
    for (const auto hooks :
         {detail::stream_hooks(),    detail::splice_hooks(), detail::message_hooks(),
          detail::socket_hooks(),    detail::poll_hooks(),   detail::time_hooks(),
          detail::process_hooks(),   detail::signal_hooks(), detail::lock_hooks(),
          detail::ipc_hooks(),       detail::name_hooks(),   detail::loader_hooks(),
          detail::alarm_hooks(),     detail::mutex_hooks(),  detail::thread_hooks(),
          detail::condition_hooks(), detail::waking_hooks(), detail::syscall_hooks(),
          detail::file_hooks(),      detail::stdio_hooks(),  detail::user_hooks(),
          detail::state_hooks(),     detail::open_hooks()})
      for (const Hook& hook : hooks)
        if (void* original = detail::find_symbol(hook.name)) {
          replacements_.emplace(hook.name, Replacement{&hook, original});
          if (hook.original != nullptr)
            *hook.original = ~reinterpret_cast<std::uintptr_t>(original);
          by_address_.emplace(original, &hook);
          originals_.first = std::min(originals_.first, static_cast<const void*>(original));
          originals_.last = std::max(originals_.last, static_cast<const void*>(original));
        }
  }

  template <class Choose>
  void restore_locked(const Choose& choose) noexcept {
    detail::for_each_image([&](const Image& image) {
      if (!choose(image)) return;
      std::erase_if(slots_, [&](const auto& entry) {
        const auto& [at, slot] = entry;
        if (!belongs_to(slot, at, image)) return false;
        // Other code may have patched the slot after us. A slot that the kernel does not let us
        // write stays known and patched: it can be restored another time.
        return *at != slot.function() || image.write(at, slot.before);
      });
    });
  }

  template <class Choose>
  std::ptrdiff_t patch_locked(Choose& choose) {
    std::ptrdiff_t count = 0;
    bool any = false;
    forget_unloaded();
    const std::map<std::uintptr_t, Cancel> policies = policies_of_objects();
    detail::for_each_image([&](const Image& image) {
      const std::optional<Choice> chosen = choose(image);
      if (!chosen && (futures_.empty() || detail::why_untouchable(image) != nullptr)) return;
      any |= chosen.has_value();
      Cancel cancel = chosen ? chosen->cancel : Cancel::error;
      const auto policy = policies.find(image.base());
      if (chosen && !chosen->is_named && policy != policies.end()) cancel = policy->second;
      image.for_each_import([&](const char* name, void** at, bool is_data) {
        const auto found = replacements_.find(name);
        if (found == replacements_.end()) return;
        if (tells_of_newcomers(name) ? futures_.empty() : !chosen) return;
        if (is_data && *at != found->second.original && !slots_.contains(at)) return;
        count += patch(image, at, *found->second.hook, cancel, false);
      });
      // Functions of a sanitizer call libc's through copies of their own in the program.
      if (!chosen || kSanitized) return;
      image.for_each_pointer(originals_, [&](void** at, void* pointer) {
        const auto found = by_address_.find(pointer);
        if (found == by_address_.end() || slots_.contains(at) || is_ours(at) ||
            image.contains(pointer))  // a function of the image's own, like a sanitizer's
          return;
        count += patch(image, at, *found->second, cancel, true);
      });
      for (const auto& [at, slot] : slots_)  // copies that were patched before
        if (slot.is_copy && belongs_to(slot, at, image))
          count += patch(image, at, *slot.hook, cancel, true);
    });
    if (any) patch_those_that_wake();
    return any ? count : -1;
  }

  // Returns the policies with which objects are patched, by the objects' bases.
  std::map<std::uintptr_t, Cancel> policies_of_objects() const {
    std::map<std::uintptr_t, Cancel> policies;
    for (const auto& [at, slot] : slots_)
      if (slot.is_chosen && !tells_of_newcomers(slot.hook->name))
        policies.emplace(slot.base, slot.cancel);
    return policies;
  }

  // Patches the functions that wake tasks in the objects that are not chosen, too. Without memory,
  // these do not wake tasks.
  void patch_those_that_wake() noexcept try {
    detail::for_each_image([&](const Image& image) {
      if (detail::why_untouchable(image) != nullptr) return;
      image.for_each_import([&](const char* name, void** at, bool is_data) {
        if (is_data || slots_.contains(at)) return;
        for (const Hook& hook : detail::waking_hooks())
          if (std::string_view(name) == hook.name)
            patch(image, at, hook, Cancel::error, false, false);
      });
    });
  } catch (const std::bad_alloc&) {
  }

  // Patches a slot. Returns 1 if the slot was not patched before, else 0.
  int patch(const Image& image, void** at, const Hook& hook, Cancel cancel, bool is_copy,
            bool is_chosen = true) {
    const auto known = slots_.find(at);
    if (known != slots_.end()) {
      const bool is_new = !std::exchange(known->second.is_chosen, true);
      Slot changed = known->second;
      changed.cancel = cancel;
      if (changed.function() == known->second.function() || image.write(at, changed.function()))
        known->second.cancel = cancel;
      return is_new ? 1 : 0;
    }
    const auto entry = slots_
                           .emplace(at, Slot{std::string(image.path()), image.base(), &hook, cancel,
                                             is_copy, is_chosen, *at})
                           .first;
    if (image.write(at, entry->second.function())) return 1;
    slots_.erase(entry);
    return 0;
  }

  // Whether the slot is in real() or real_threads(), where the replacements find the functions, or
  // in the registry.
  bool is_ours(void** at) const noexcept {
    const auto lies_in = [place = reinterpret_cast<const char*>(at)](const auto& object) {
      const auto* begin = reinterpret_cast<const char*>(&object);
      return place >= begin && place < begin + sizeof object;
    };
    return lies_in(detail::real()) || lies_in(detail::real_threads()) || lies_in(*this);
  }

  static bool belongs_to(const Slot& slot, const void* at, const Image& image) {
    return image.base() == slot.base && image.path() == slot.object && image.contains(at);
  }

  // Forgets slots of unloaded objects: other objects may be at their addresses.
  void forget_unloaded() {
    std::unordered_map<void**, Slot> loaded;
    detail::for_each_image([&](const Image& image) {
      for (auto at = slots_.begin(); at != slots_.end();) {
        const auto next = std::next(at);
        if (belongs_to(at->second, at->first, image) && *at->first == at->second.function())
          loaded.insert(slots_.extract(at));
        at = next;
      }
    });
    slots_.swap(loaded);
  }

  std::mutex mutex_;
  std::unordered_map<std::string_view, Replacement> replacements_;
  std::unordered_map<void*, const Hook*> by_address_;
  Image::Range originals_{reinterpret_cast<const void*>(~std::uintptr_t{0}), nullptr};
  std::vector<Future> futures_;
  std::unordered_map<void**, Slot> slots_;
};

// Returns the name of a loaded object and the names of all its dependencies, recursively.
std::vector<std::string> with_dependencies(std::string_view name) {
  std::vector<std::string> names{std::string(name)};
  for (std::size_t known = 0; known != names.size();) {
    known = names.size();
    detail::for_each_image([&](const Image& image) {
      if (std::none_of(names.begin(), names.end(),
                       [&](const std::string& each) { return detail::is_called(image, each); }))
        return;
      for (std::string& needed : image.needed())
        if (std::find(names.begin(), names.end(), needed) == names.end())
          names.push_back(std::move(needed));
    });
  }
  return names;
}

// Returns the policy for an image.
Choice choice_of(const Image& image, const std::optional<Cancel>& cancel) {
  return {.cancel = cancel ? *cancel : detail::policy_of(image), .is_named = cancel.has_value()};
}

// Returns the choice for an image that is one of `names`, nothing for others. The names after the
// first are dependencies; among them, the parts of libc are not patched.
std::optional<Choice> choose(const Image& image, const std::vector<std::string>& names,
                             const std::optional<Cancel>& cancel) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!detail::is_called(image, names[i])) continue;
    if (i != 0 && detail::why_untouchable(image) != nullptr) return std::nullopt;
    return choice_of(image, cancel);
  }
  return std::nullopt;
}

std::optional<Choice> choose_any(const Image& image, const std::optional<Cancel>& cancel) {
  if (detail::why_untouchable(image) != nullptr) return std::nullopt;
  return choice_of(image, cancel);
}

std::vector<std::string> names_to_patch(std::string_view name, bool dependencies) {
  return dependencies ? with_dependencies(name) : std::vector{std::string(name)};
}

std::ptrdiff_t patch_named(std::string_view name, const std::optional<Cancel>& cancel,
                           bool dependencies) {
  const std::vector<std::string> names = names_to_patch(name, dependencies);
  return Registry::instance().patch_if(
      [&](const Image& image) { return choose(image, names, cancel); });
}

// Patches what was loaded since the option `future` was given. Objects that are patched already
// keep their policies.
void patch_newcomers_of(const Future& future) {
  std::vector<std::string> names;
  if (!future.name.empty()) names = names_to_patch(future.name, future.dependencies);
  Registry::instance().patch_if([&](const Image& image) {
    std::optional<Choice> choice = future.name.empty() ? choose_any(image, future.cancel)
                                                       : choose(image, names, future.cancel);
    if (choice) choice->is_named = false;
    return choice;
  });
}

}  // namespace

namespace detail {

std::vector<PatchedImport> patched_imports() { return Registry::instance().list(); }

void patch_newcomers() noexcept {
  try {
    const std::vector<Future> futures = Registry::instance().expected();
    // An object's own policy comes before that for all.
    for (const bool for_all : {false, true})
      for (const Future& future : futures)
        if (future.name.empty() == for_all) patch_newcomers_of(future);
  } catch (const std::exception&) {
    // Without memory, the new objects stay unpatched.
  }
}

}  // namespace detail

std::size_t patch_all(const PatchOptions& options) {
  detail::use_large_stacks();
  if (options.future.value_or(true)) Registry::instance().expect({"", options.cancel, false});
  return static_cast<std::size_t>(
      std::max<std::ptrdiff_t>(Registry::instance().patch_if([&](const Image& image) {
        return choose_any(image, options.cancel);
      }),
                               0));
}

std::size_t patch_library(std::string_view name, const PatchOptions& options) {
  if (name.empty()) throw ValueError("cannot patch an object whose name is empty");
  const bool future = options.future.value_or(false);
  if (future)
    Registry::instance().expect({std::string(name), options.cancel, options.dependencies});
  const std::ptrdiff_t count = patch_named(name, options.cancel, options.dependencies);
  if (count < 0 && !future)
    throw ValueError("cannot patch '" + std::string(name) + "': no object of that name is loaded");
  detail::use_large_stacks();
  return static_cast<std::size_t>(std::max<std::ptrdiff_t>(count, 0));
}

void unpatch() noexcept {
  Registry::instance().expect_nothing("");
  Registry::instance().restore_if([](const Image&) { return true; });
  detail::use_ordinary_stacks();
}

void unpatch_library(std::string_view name) noexcept {
  if (name.empty()) return;
  Registry::instance().expect_nothing(name);
  Registry::instance().restore_if(
      [name](const Image& image) { return detail::is_called(image, name); });
}

std::vector<Patched> patched() {
  std::map<std::string, Patched> by_object;
  for (detail::PatchedImport& each : detail::patched_imports()) {
    if (tells_of_newcomers(each.function)) continue;
    Patched& object = by_object[each.object];
    object.object = each.object;
    object.cancel = each.cancel;
    object.functions.push_back(std::move(each.function));
  }
  std::vector<Patched> all;
  for (auto& [path, object] : by_object) {
    std::sort(object.functions.begin(), object.functions.end());
    object.functions.erase(std::unique(object.functions.begin(), object.functions.end()),
                           object.functions.end());
    all.push_back(std::move(object));
  }
  return all;
}

std::vector<std::string> patchable() { return Registry::instance().names(); }

}  // namespace fiber::monkey
