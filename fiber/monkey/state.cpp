#include <fiber/asyncio/debug.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/core/thread_state.hpp>
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/image.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/state.hpp>

#include <array>
#include <atomic>
#include <climits>
#include <clocale>
#include <cstdint>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <dlfcn.h>

namespace fiber::monkey::detail {
namespace {

// Functions of libraries that may not be loaded. Used only if all functions of a library are found.
struct OpenSsl {
  unsigned long (*peek)();
  unsigned long (*get)(const char** file, int* line, const char** function, const char** data,
                       int* flags);
  void (*clear)();
  void (*begin)();
  void (*place)(const char* file, int line, const char* function);
  void (*end)(int library, int reason, const char* format, ...);
};
struct Glib {
  void* (*top)();
  void (*push)(void* context);
  void (*pop)(void* context);
  void* (*reference)(void* context);
  void (*unreference)(void* context);
};

std::atomic<const OpenSsl*> open_ssl{nullptr};
std::atomic<const Glib*> glib{nullptr};

template <class Function>
bool find(void* scope, Function*& function, const char* name) noexcept {
  function = reinterpret_cast<Function*>(::dlsym(scope, name));
  return function != nullptr;
}

// Calls find_all(scope) for the program's scope, and for a library that dlopen has kept out of it
// (RTLD_LOCAL), until it returns true. That library stays loaded then.
template <class F>
bool in_any_scope(const char* library, F find_all) noexcept {
  if (find_all(RTLD_DEFAULT)) return true;
  std::array<char, PATH_MAX> path{};
  for_each_image([&](const Image& image) {
    if (image.file_name().starts_with(library) && image.path().size() < path.size())
      path[image.path().copy(path.data(), path.size() - 1)] = '\0';
  });
  if (path[0] == '\0') return false;
  void* scope = real().dlopen(path.data(), RTLD_LAZY | RTLD_NOLOAD);
  if (scope == nullptr) return false;
  if (find_all(scope)) return true;
  ::dlclose(scope);
  return false;
}

// Returns libc's function: a call by name may come back to the replacement, and so would a call by
// a pointer in a variable, where copied pointers are patched. So the pointer is stored with its
// bits inverted.
using UseLocale = locale_t (*)(locale_t);
UseLocale real_uselocale() noexcept {
  static const auto inverted = ~reinterpret_cast<std::uintptr_t>(find_symbol("uselocale"));
  return reinterpret_cast<UseLocale>(~inverted);
}

// The thread's own locale: before its tasks have set theirs, and as code outside of tasks sets it.
thread_local constinit bool tasks_set_locales = false;
thread_local constinit locale_t locale_of_thread = nullptr;

locale_t uselocale_(locale_t locale) noexcept {
  const Call call;
  locale_t before = real_uselocale()(locale);
  if (locale == nullptr) return before;
  if (!call) {
    locale_of_thread = locale;
  } else if (!tasks_set_locales) {
    locale_of_thread = before;
    tasks_set_locales = true;
  }
  return before;
}

}  // namespace

struct StateOfThread::Saved {
  struct Error {
    unsigned long code;
    std::string file, function, data;
    int line;
  };
  std::vector<Error> errors;    // oldest first
  std::vector<void*> contexts;  // innermost first, counted

  void take(const OpenSsl& library) {
    const char *file = nullptr, *function = nullptr, *data = nullptr;
    int line = 0, flags = 0;
    constexpr int kIsText = 2;
    const auto text = [](const char* given) { return std::string(given != nullptr ? given : ""); };
    while (const unsigned long code = library.get(&file, &line, &function, &data, &flags))
      errors.push_back({code, text(file), text(function),
                        (flags & kIsText) != 0 ? text(data) : std::string(), line});
  }
  void take(const Glib& library) {
    while (void* context = library.top()) {
      contexts.push_back(library.reference(context));
      library.pop(context);
    }
  }
  void give_back(const OpenSsl& library) const {
    library.clear();
    for (const Error& error : errors) {
      constexpr unsigned long kLibraryShift = 23;
      constexpr unsigned long kLibraryMask = 0xff;
      constexpr unsigned long kReasonMask = 0x7fffff;
      library.begin();
      library.place(error.file.c_str(), error.line, error.function.c_str());
      // System errors have an encoding of their own.
      constexpr unsigned long kOfSystem = 0x80000000UL;
      constexpr int kSystemLibrary = 2;
      const bool of_system = (error.code & kOfSystem) != 0;
      const int number = of_system ? kSystemLibrary
                                   : static_cast<int>((error.code >> kLibraryShift) & kLibraryMask);
      const auto reason =
          static_cast<int>(error.code & (of_system ? ~kOfSystem & 0xffffffffUL : kReasonMask));
      if (error.data.empty())
        library.end(number, reason, nullptr);
      else
        library.end(number, reason, "%s", error.data.c_str());
    }
  }
  void give_back(const Glib& library) const {
    for (auto at = contexts.rbegin(); at != contexts.rend(); ++at) {
      library.push(*at);
      library.unreference(*at);
    }
  }
};

StateOfThread::StateOfThread() noexcept {
  // A task with own_thread_state keeps all of its state.
  if (const core::ThreadState* thread = core::tls_thread_state; thread->lent != nullptr) return;
  calls_.emplace();
  if (tasks_set_locales) locale_ = real_uselocale()(locale_of_thread);
  const OpenSsl* ssl = open_ssl.load(std::memory_order_acquire);
  const Glib* contexts = glib.load(std::memory_order_acquire);
  const bool has_errors = ssl != nullptr && ssl->peek() != 0;
  const bool has_contexts = contexts != nullptr && contexts->top() != nullptr;
  if (!has_errors && !has_contexts) return;
  try {
    saved_ = new Saved;
    if (has_errors) saved_->take(*ssl);
    if (has_contexts) saved_->take(*contexts);
  } catch (const std::bad_alloc&) {
    // No memory for the rest: it stays in the library; the part that was taken is given back
    // afterwards.
  }
}

StateOfThread::~StateOfThread() {
  if (locale_ != nullptr) real_uselocale()(static_cast<locale_t>(locale_));
  if (saved_ == nullptr) return;
  if (!saved_->errors.empty()) saved_->give_back(*open_ssl.load(std::memory_order_acquire));
  if (!saved_->contexts.empty()) saved_->give_back(*glib.load(std::memory_order_acquire));
  delete saved_;
}

namespace {

// The thread's state after the last step of a task: a state that differs from it has been set by
// the next task.
struct Left {
  locale_t locale = nullptr;
  unsigned long error = 0;
  void* context = nullptr;
  const void* call = nullptr;

  static Left after(const asyncio::detail::Step& step) noexcept {
    const OpenSsl* ssl = open_ssl.load(std::memory_order_acquire);
    const Glib* contexts = glib.load(std::memory_order_acquire);
    Left left;
    if (tasks_set_locales) left.locale = real_uselocale()(nullptr);
    if (left.locale == locale_of_thread) left.locale = nullptr;
    if (ssl != nullptr) left.error = ssl->peek();
    if (contexts != nullptr) left.context = contexts->top();
    // A call that has returned is in no list.
    if (step.task != nullptr && !step.ended)
      if (const auto* suspended = step.task->suspended_greenlet())
        left.call = newest_call_on(suspended->context.stack);
    return left;
  }
};
thread_local constinit Left left_before;

void report_left_behind(const asyncio::detail::Step& step) {
  const Left left = Left::after(step);
  const Left before = std::exchange(left_before, left);
  const auto report = [&](const char* what) {
    asyncio::detail::log(
        asyncio::LogLevel::warning,
        "Task " + (step.task != nullptr ? step.task->repr() : fiber::detail::quoted(step.name)) +
            (step.ended ? " ended" : " suspended") + " and left " + what +
            ", which other tasks of this thread see. " +
            (step.ended ? "The state of a thread ends with it, that of a task does not"
                        : "Only patched calls save it") +
            ": see own_thread_state");
  };
  if (left.locale != nullptr && left.locale != before.locale)
    report("its locale (uselocale) to the thread");
  if (left.error != 0 && left.error != before.error) report("errors in OpenSSL's queue");
  if (left.context != nullptr && left.context != before.context)
    report("its GMainContext as the thread's default");
  if (left.call != nullptr && left.call != before.call)
    report("a call of Asio in the thread's list of running calls");
}

}  // namespace

void find_state_of_libraries() noexcept {
  asyncio::detail::set_step_check(report_left_behind);
  static OpenSsl ssl;
  static Glib contexts;
  if (open_ssl.load() == nullptr && in_any_scope("libcrypto.so", [](void* scope) {
        return find(scope, ssl.peek, "ERR_peek_error") &&
               find(scope, ssl.get, "ERR_get_error_all") &&
               find(scope, ssl.clear, "ERR_clear_error") && find(scope, ssl.begin, "ERR_new") &&
               find(scope, ssl.place, "ERR_set_debug") && find(scope, ssl.end, "ERR_set_error");
      }))
    open_ssl.store(&ssl, std::memory_order_release);
  if (glib.load() == nullptr && in_any_scope("libglib-2.0.so", [](void* scope) {
        return find(scope, contexts.top, "g_main_context_get_thread_default") &&
               find(scope, contexts.push, "g_main_context_push_thread_default") &&
               find(scope, contexts.pop, "g_main_context_pop_thread_default") &&
               find(scope, contexts.reference, "g_main_context_ref") &&
               find(scope, contexts.unreference, "g_main_context_unref");
      }))
    glib.store(&contexts, std::memory_order_release);
  ::dlerror();  // what was looked for in vain is not an error of the program's
}

std::span<const Hook> state_hooks() noexcept {
  static const Hook hooks[] = {plain_hook<uselocale_>("uselocale")};
  return hooks;
}

}  // namespace fiber::monkey::detail
