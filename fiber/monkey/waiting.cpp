#include <fiber/monkey/waiting.hpp>

#include <fiber/asyncio/detail/waiter.hpp>
#include <fiber/asyncio/tasks.hpp>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <new>

#include <pthread.h>
#include <unistd.h>

namespace fiber::monkey::detail {
namespace {

using asyncio::detail::LoopObject;
using asyncio::detail::Waiter;

// The loop that the forking thread ran is the parent's: its epoll is shared with it.
std::atomic<const LoopObject*> inherited_loop{nullptr};
std::atomic<pid_t> process{0};

void in_forked_child() {
  const core::ThreadState* thread = core::tls_thread_state;
  inherited_loop =
      thread != nullptr && thread->asyncio != nullptr
          ? static_cast<const asyncio::detail::AsyncioThread*>(thread->asyncio)->running
          : nullptr;
  process = ::getpid();
}

// Wakes the waiter when its time has come. On the heap: it may be in the ready queue already when
// the task goes on for another reason.
class Alarm {
 public:
  Alarm(LoopObject& loop, Waiter& waiter, std::int64_t deadline) {
    if (deadline == kNever) return;
    timer_ = asyncio::EventLoop(&loop).call_at(std::chrono::nanoseconds(deadline), [this, &waiter] {
      rang_ = true;
      waiter.wake();
    });
  }
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;
  ~Alarm() {
    if (timer_) timer_.cancel();
  }
  bool rang() const noexcept { return rang_; }

 private:
  asyncio::TimerHandle timer_;
  bool rang_ = false;
};

}  // namespace

void prepare_for_fork() noexcept {
  static std::once_flag once;
  std::call_once(once, [] {
    process = ::getpid();
    ::pthread_atfork(nullptr, nullptr, in_forked_child);
  });
}

bool in_foreign_process() noexcept { return ::getpid() != process.load(std::memory_order_relaxed); }

LoopObject* own_loop() noexcept {
  const core::ThreadState* thread = core::tls_thread_state;
  if (thread == nullptr || thread->asyncio == nullptr) return nullptr;
  LoopObject* loop = static_cast<const asyncio::detail::AsyncioThread*>(thread->asyncio)->running;
  return loop != inherited_loop.load(std::memory_order_relaxed) ? loop : nullptr;
}

Call::Call() noexcept {
  const LoopObject* loop = own_loop();
  if (loop != nullptr) task_ = loop->current_task;
}

std::int64_t Call::now() const noexcept { return task_->loop()->now(); }

std::int64_t Call::deadline_after(std::int64_t nanoseconds) const noexcept {
  const std::int64_t at = now();
  return nanoseconds > kNever - 1 - at ? kNever - 1 : at + std::max<std::int64_t>(nanoseconds, 0);
}

Wake Call::wait(int fd, std::uint32_t events, std::int64_t deadline) const noexcept {
  DescriptorWait one{.fd = fd, .events = events};
  return wait(std::span(&one, 1), deadline);
}

Wake Call::wait(std::span<DescriptorWait> descriptors, std::int64_t deadline) const noexcept {
  LoopObject& loop = *task_->loop();
  struct Leave {
    LoopObject& loop;
    std::span<DescriptorWait> descriptors;
    ~Leave() {
      for (DescriptorWait& wait : descriptors) loop.leave(wait);
    }
  };
  try {
    if (task_->abandoned()) throw asyncio::CancelledError();
    Waiter waiter(loop);
    const Leave leave{loop, descriptors};
    for (DescriptorWait& wait : descriptors) {
      wait.waiter = &waiter;
      const int error = loop.wait(wait);
      if (error == EPERM && descriptors.size() == 1) return Wake::unwatchable;
      // Among many it cannot be waited for, but the others can.
      if (error == 0 || error == EPERM || error == EINVAL || error == ELOOP) continue;
      errno = error;
      return Wake::failed;
    }
    const Alarm alarm(loop, waiter, deadline);
    waiter.wait();
    for (const DescriptorWait& wait : descriptors) {
      if (wait.error == 0) continue;
      errno = wait.error;
      return Wake::failed;
    }
    return alarm.rang() ? Wake::timed_out : Wake::ready;
  } catch (...) {
    fail();
    return Wake::failed;
  }
}

Wake Call::sleep_until(std::int64_t deadline) const noexcept {
  return wait(std::span<DescriptorWait>(), deadline);
}

// What the exception that is being handled is to C.
void Call::fail() const noexcept {
  try {
    throw;
  } catch (const asyncio::CancelledError& error) {
    // An abandoned task is told of its end by its next await as it is.
    if (!task_->abandoned()) task_->cancel_again(error.what());
    errno = ECANCELED;
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
  } catch (const MemoryError&) {
    errno = ENOMEM;
  } catch (const GreenletExit&) {
    errno = ECANCELED;
  } catch (...) {
    errno = ENOSYS;
  }
}

bool Backoff::pause(const Call& call, std::int64_t deadline) noexcept {
  const std::int64_t until = std::min(call.deadline_after(pause_), deadline);
  if (until <= call.now()) {
    errno = EAGAIN;
    return false;
  }
  constexpr std::int64_t kLongest = 25'000'000;
  pause_ = std::min(pause_ * 2, kLongest);
  return call.sleep_until(until) == Wake::timed_out;
}

}  // namespace fiber::monkey::detail
