#include <fiber/core/signal_mask.hpp>

#include <fiber/core/own_thread.hpp>
#include <fiber/core/undying.hpp>

namespace fiber::core {
namespace {

struct Kept {
  bool is_kept;
  sigset_t mask;
};
// The mask belongs to the thread of the kernel, whatever thread its fibers pass for.
constinit thread_local PerThread<Kept> kept;
const PerThreadUse kept_use([]() -> PerThreadBase& { return kept; });

void in_child() {
  if (kept->is_kept) ::pthread_sigmask(SIG_SETMASK, &kept->mask, nullptr);
}

}  // namespace

void keep_mask_for_children(const sigset_t& mask) noexcept {
  try {
    static const bool guarded = (at_fork(nullptr, nullptr, in_child), true);
    static_cast<void>(guarded);
  } catch (const std::bad_alloc&) {
    // There is no way to report the failure on this thread. The next thread tries again.
  }
  *kept = {.is_kept = true, .mask = mask};
}

void inherit_mask_in_children() noexcept { kept->is_kept = false; }

const sigset_t* mask_for_children() noexcept { return kept->is_kept ? &kept->mask : nullptr; }

}  // namespace fiber::core
