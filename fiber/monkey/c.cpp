// Patching for <fiber/fiber.h>.
#include <fiber/asyncio/tasks.hpp>
#include <fiber/c/options.hpp>
#include <fiber/c/status.hpp>
#include <fiber/fiber.h>
#include <fiber/monkey.hpp>

#include <chrono>
#include <cstddef>
#include <cstring>

namespace {

using fiber::c::guarded;
using fiber::c::invalid;
namespace monkey = fiber::monkey;

// Reads the options of a C program. Returns the text of an error, or null.
const char* read(const fiber_patch_options* given, monkey::PatchOptions& options) noexcept {
  using Options = fiber_patch_options;
  Options known{};
  if (const char* why = fiber::c::read_options(given, known, &Options::cancel,
                                               &Options::dependencies, &Options::future))
    return why;
  switch (known.cancel) {
    case FIBER_CANCEL_DEFAULT: break;
    case FIBER_CANCEL_ERROR: options.cancel = monkey::Cancel::error; break;
    case FIBER_CANCEL_INTERRUPT: options.cancel = monkey::Cancel::interrupt; break;
    case FIBER_CANCEL_NEVER: options.cancel = monkey::Cancel::never; break;
    default: return "fiber_patch_options: cancel is not a value of enum fiber_cancel";
  }
  options.dependencies = known.dependencies != 0;
  if (known.future != 0) options.future = known.future > 0;
  return nullptr;
}

template <class F>
int patch(const fiber_patch_options* given, std::size_t* count, F function) noexcept {
  std::size_t unused = 0;
  std::size_t& replaced = count != nullptr ? *count : unused;
  replaced = 0;
  monkey::PatchOptions options;
  if (const char* why = read(given, options)) return invalid(why);
  return guarded([&] { replaced = function(options); });
}

}  // namespace

int fiber_patch_all(const fiber_patch_options* options, size_t* count) {
  return patch(options, count,
               [](const monkey::PatchOptions& its) { return monkey::patch_all(its); });
}

int fiber_patch_library(const char* name, const fiber_patch_options* options, size_t* count) {
  if (name == nullptr) {
    if (count != nullptr) *count = 0;
    return invalid("fiber_patch_library: the name is NULL");
  }
  return patch(options, count, [name](const monkey::PatchOptions& its) {
    return monkey::patch_library(name, its);
  });
}

void fiber_unpatch(void) { monkey::unpatch(); }

void fiber_unpatch_library(const char* name) {
  if (name != nullptr) monkey::unpatch_library(name);
}

char* fiber_patch_report(void) {
  char* text = nullptr;
  guarded([&] { text = ::strdup(monkey::json(monkey::report()).c_str()); });
  return text;
}

int fiber_patch_grace(int64_t limit) {
  if (fiber::asyncio::detail::current_task_or_null() == nullptr) {
    return guarded(
        [] { throw fiber::RuntimeError("fiber_patch_grace was called outside of a task"); });
  }
  return guarded([&] { monkey::grace(std::chrono::nanoseconds(limit)); });
}
