#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/unix_events.hpp>
#include <fiber/platform/thread.hpp>

#include <bit>
#include <cerrno>
#include <thread>

#include <unistd.h>

namespace fiber::asyncio::detail {
namespace {

constexpr int kSignals = NSIG;
static_assert(kSignals <= 65, "a bit in 64 for each");

// The signal handler reads these on any thread.
std::array<std::atomic<LoopObject*>, kSignals> owners{};
std::array<std::atomic<SignalHandlers*>, kSignals> inboxes{};
std::array<std::atomic<sem_t*>, kSignals> alarms{};
// The main thread writes these.
std::array<struct sigaction, kSignals> saved_actions{};

void on_signal(int number) {
  const InSignalHandler scope;
  SignalHandlers* inbox = inboxes[static_cast<std::size_t>(number)].load();
  LoopObject* loop = owners[static_cast<std::size_t>(number)].load();
  if (inbox != nullptr && loop != nullptr) {
    inbox->arrived(number);
    loop->signals().attend();
  }
  if (sem_t* alarm = alarms[static_cast<std::size_t>(number)].load()) ::sem_post(alarm);
}

void disown(int number) noexcept {
  owners[static_cast<std::size_t>(number)].store(nullptr);
  inboxes[static_cast<std::size_t>(number)].store(nullptr);
  InSignalHandler::wait_for_others();
}

void check_signal(int number) {
  if (number < 1 || number >= kSignals)
    throw ValueError("invalid signal number " + std::to_string(number));
}

}  // namespace

void InSignalHandler::wait_for_others() noexcept {
  while (running_.load() != 0) std::this_thread::yield();
}

void set_alarm(int number, sem_t* alarm) noexcept {
  alarms[static_cast<std::size_t>(number)].store(alarm);
  InSignalHandler::wait_for_others();
}

void clear_alarm(int number, sem_t* alarm) noexcept {
  alarms[static_cast<std::size_t>(number)].compare_exchange_strong(alarm, nullptr);
  InSignalHandler::wait_for_others();
}

void replace_saved_action(int number, void (*stale)(int), const struct sigaction& now) noexcept {
  struct sigaction& saved = saved_actions[static_cast<std::size_t>(number)];
  if (saved.sa_handler == stale) saved = now;
}

SignalHandlers::SignalHandlers(LoopObject& loop) : loop_(loop), step_(new Step) {
  step_->owner = this;
  step_->run = &SignalHandlers::run;
  step_->drop = [](LeafCallback* leaf) noexcept {
    auto* step = static_cast<Step*>(leaf);
    if (step->owner == nullptr) delete step;
  };
}

SignalHandlers::~SignalHandlers() {
  while (!handlers_.empty()) remove(handlers_.begin()->first);
  step_->owner = nullptr;
  if (!step_->queued) delete step_;
}

void SignalHandlers::add(int number, core::Ref<HandleObject> handle) {
  const auto index = static_cast<std::size_t>(number);
  const auto found = handlers_.find(number);
  if (found != handlers_.end()) {
    std::swap(found->second, handle);
    return;
  }
  handlers_.emplace(number, std::move(handle));
  const bool another_loop = owners[index].load() != nullptr;
  owners[index].store(&loop_);
  inboxes[index].store(this);
  struct sigaction ours {};
  ours.sa_handler = on_signal;
  ours.sa_flags = SA_RESTART;  // as CPython: other code's system calls go on
  sigemptyset(&ours.sa_mask);
  struct sigaction previous {};
  if (::sigaction(number, &ours, &previous) != 0) {
    const int error = errno;
    disown(number);
    const auto failed = handlers_.extract(number);  // destroyed last
    if (error == EINVAL) throw RuntimeError("sig " + std::to_string(number) + " cannot be caught");
    raise_os_error(error, "sigaction");
  }
  if (!another_loop) saved_actions[index] = previous;
}

core::Ref<HandleObject> SignalHandlers::remove(int number) noexcept {
  const auto found = handlers_.find(number);
  if (found == handlers_.end()) return nullptr;
  core::Ref<HandleObject> handle = std::move(found->second);
  handlers_.erase(found);
  const auto index = static_cast<std::size_t>(number);
  if (owners[index].load() == &loop_) {
    struct sigaction current {};
    ::sigaction(number, nullptr, &current);
    if (current.sa_handler == on_signal) ::sigaction(number, &saved_actions[index], nullptr);
    disown(number);
  }
  return handle;
}

void SignalHandlers::arrived(int number) noexcept {
  std::uint32_t place = end_.load(std::memory_order_relaxed);
  do {
    if (place - first_.load(std::memory_order_acquire) >= kRing) {
      crowded_out_.fetch_or(std::uint64_t{1} << (number - 1), std::memory_order_relaxed);
      return;
    }
  } while (!end_.compare_exchange_weak(place, place + 1, std::memory_order_acq_rel,
                                       std::memory_order_relaxed));
  ring_[place % kRing].store(static_cast<std::uint8_t>(number), std::memory_order_release);
}

void SignalHandlers::queue() noexcept {
  if (step_->queued) return;
  if (loop_.ready_queue().try_claim())
    loop_.push(static_cast<Callback*>(step_));
  else
    loop_.signals().attend();  // in the next iteration
}

void SignalHandlers::run(Leaf* leaf) noexcept {
  auto* step = static_cast<Step*>(leaf);
  step->queued = false;
  SignalHandlers* self = step->owner;
  if (self == nullptr) {
    delete step;
    return;
  }
  std::uint32_t first = self->first_.load(std::memory_order_relaxed);
  while (first != self->end_.load(std::memory_order_acquire)) {
    const std::uint8_t number = self->ring_[first % kRing].exchange(0, std::memory_order_acq_rel);
    if (number == 0) {
      // Another thread is about to store the number.
      self->loop_.signals().attend();
      return;
    }
    self->first_.store(++first, std::memory_order_release);
    self->call(number);
  }
  for (std::uint64_t more = self->crowded_out_.exchange(0); more != 0; more &= more - 1)
    self->call(std::countr_zero(more) + 1);
}

// Queues the signal's handle. Without memory for it the signal counts as one of a flood.
void SignalHandlers::call(int number) noexcept {
  const auto found = handlers_.find(number);
  if (found == handlers_.end()) return;
  if (!loop_.ready_queue().try_claim()) {
    crowded_out_.fetch_or(std::uint64_t{1} << (number - 1), std::memory_order_relaxed);
    loop_.signals().attend();
    return;
  }
  loop_.push(Entry(core::Ref<HandleObject>(found->second).detach()));
}

// --- the signals of one loop ---------------------------------------------------------------------

LoopSignals::LoopSignals(LoopObject& loop) noexcept : loop_(loop) {}

LoopSignals::~LoopSignals() = default;

void LoopSignals::add_handler(int number, core::Ref<HandleObject> handle) {
  check_signal(number);
  loop_.check_closed();
  if (!platform::is_first_thread())
    throw RuntimeError("a loop can handle signals only in the main thread");
  if (handlers_ == nullptr) handlers_ = core::make_owner<SignalHandlers>(loop_);
  try {
    handlers_->add(number, std::move(handle));
  } catch (...) {
    if (handlers_ != nullptr && handlers_->empty()) handlers_ = nullptr;
    throw;
  }
}

bool LoopSignals::remove_handler(int number) {
  check_signal(number);
  if (handlers_ == nullptr) return false;
  const core::Ref<HandleObject> handle = handlers_->remove(number);  // destroyed last
  if (handle == nullptr) return false;
  if (handlers_->empty()) handlers_ = nullptr;
  return true;
}

void LoopSignals::drop_handlers() noexcept { handlers_ = nullptr; }

// Wakes the loop without the lock of Mailbox::wake(), which the interrupted thread may hold: while
// there are handlers the selector is not replaced.
void LoopSignals::attend() noexcept {
  any_.store(true, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (loop_.mailbox().sleeping()) loop_.selector().wake();
}

void LoopSignals::look(bool may_queue) {
  any_.exchange(false, std::memory_order_acquire);  // acquires arrivals that were noted before
  if (handlers_ != nullptr && handlers_->any_arrived()) {
    if (may_queue)
      handlers_->queue();
    else
      any_.store(true, std::memory_order_relaxed);
  }
  if (on_signal) on_signal();
}

}  // namespace fiber::asyncio::detail
