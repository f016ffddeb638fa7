#include <fiber/core/signal_mask.hpp>

#include <fiber/core/undying.hpp>

namespace fiber::core {
namespace {

constinit thread_local bool keeps_mask = false;
constinit thread_local sigset_t kept_mask{};

void in_child() {
  if (keeps_mask) ::pthread_sigmask(SIG_SETMASK, &kept_mask, nullptr);
}

}  // namespace

void keep_mask_for_children(const sigset_t& mask) noexcept {
  try {
    static const bool guarded = (at_fork(nullptr, nullptr, in_child), true);
    static_cast<void>(guarded);
  } catch (const std::bad_alloc&) {
    // There is no way to report the failure on this thread. The next thread tries again.
  }
  kept_mask = mask;
  keeps_mask = true;
}

void inherit_mask_in_children() noexcept { keeps_mask = false; }

const sigset_t* mask_for_children() noexcept { return keeps_mask ? &kept_mask : nullptr; }

}  // namespace fiber::core
