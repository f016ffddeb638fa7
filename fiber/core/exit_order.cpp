#include <fiber/core/exit_order.hpp>

#include <atomic>
#include <cstdlib>
#include <new>

namespace fiber::core {
namespace {

std::atomic<void (*)()> finisher{nullptr};

}  // namespace

void finish_at_exit(void (*finish)()) {
  if (std::atexit(finish) != 0) throw std::bad_alloc();
  finisher.store(finish, std::memory_order_release);
}

void finish_before_exit_handlers() noexcept {
  if (void (*finish)() = finisher.load(std::memory_order_acquire)) std::atexit(finish);
}

}  // namespace fiber::core
