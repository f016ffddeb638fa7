#include <fiber/concurrent/futures.hpp>

#include <fiber/core/trashcan.hpp>
#include <fiber/cxxabi.hpp>
#include <fiber/exceptions/repr.hpp>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <ostream>
#include <unordered_set>

#ifdef FIBER_TSAN
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);
#endif

namespace fiber::concurrent::futures {

Error::~Error() = default;
CancelledError::~CancelledError() = default;
InvalidStateError::~InvalidStateError() = default;

void FutureBase::refuse_moved() { throw ValueError("this Future was moved from"); }

std::ostream& operator<<(std::ostream& out, const FutureBase& future) {
  return out << repr(future);
}

namespace detail {

// A thread that waits for futures; each future notifies it at its end. Lock order: a future's
// mutex, then the waiter's.
class Waiter {
 public:
  explicit Waiter(ReturnWhen wake_when) : wake_when_(wake_when) {}

  // Watches a future. Returns false if it is watched already. If this throws, the caller must
  // forget the others.
  bool watch(const FutureBase& future, std::size_t position) {
    if (!watched_.insert(future.id()).second) return false;
    FutureState& state = future.state();
    const std::lock_guard lock(state.mutex_);
    const bool has_ended = state.phase_ >= FutureState::Phase::CANCELLED_AND_NOTIFIED;
    {
      const std::lock_guard own_lock(mutex_);
      finished_.reserve(watched_.size());  // so that ended() needs no memory
      if (!has_ended) state.waiters_.push_back({this, position});
      ++open_;
    }
    if (has_ended) ended(position, state.error_ != nullptr);
    return true;
  }

  // Stops watching a future. Returns true if it has ended.
  bool forget(const FutureBase& future) {
    FutureState& state = future.state();
    const std::lock_guard lock(state.mutex_);
    std::erase_if(state.waiters_, [this](const auto& entry) { return entry.waiter == this; });
    return state.phase_ >= FutureState::Phase::CANCELLED_AND_NOTIFIED;
  }

  void ended(std::size_t position, bool raised) noexcept {
    const std::lock_guard lock(mutex_);
    --open_;
    finished_.push_back(position);
    raised_ = raised_ || raised;
    condition_.notify_one();
  }

  void wait(Timeout timeout) {
    std::unique_lock lock(mutex_);
    wait(lock, timeout.deadline(), [this] {
      return open_ == 0 || (wake_when_ == FIRST_COMPLETED && !finished_.empty()) ||
             (wake_when_ == FIRST_EXCEPTION && raised_);
    });
  }

  // Returns the positions of the futures that have ended since the last call, at least one; none if
  // all were handed out before. Throws TimeoutError.
  std::vector<std::size_t> next(const std::optional<Timeout::Clock::time_point>& deadline) {
    std::unique_lock lock(mutex_);
    if (!wait(lock, deadline, [this] { return open_ == 0 || !finished_.empty(); })) {
      throw TimeoutError(std::to_string(open_) + " (of " + std::to_string(watched_.size()) +
                         ") futures unfinished");
    }
    std::vector<std::size_t> taken(finished_);
    finished_.clear();  // keeps its capacity
    return taken;
  }

 private:
  template <class Ready>
  bool wait(std::unique_lock<std::mutex>& lock,
            const std::optional<Timeout::Clock::time_point>& deadline, Ready ready) {
    if (deadline) return condition_.wait_until(lock, *deadline, ready);
    condition_.wait(lock, ready);
    return true;
  }

  const ReturnWhen wake_when_;
  std::unordered_set<const void*> watched_;
  std::mutex mutex_;
  std::condition_variable condition_;
  std::size_t open_ = 0;
  std::vector<std::size_t> finished_;
  bool raised_ = false;
};

void report(const char* headline) noexcept {
  const std::exception_ptr error = std::current_exception();
  try {
    const std::string text = str(error);
    // One call of fprintf, so that the lines of two threads do not mix.
    std::fprintf(stderr, "%s\n%s%s%s\n", headline, type_name(error).c_str(),
                 text.empty() ? "" : ": ", text.c_str());
  } catch (...) {
    std::fprintf(stderr, "%s (no memory to say more)\n", headline);
  }
}

Callback::~Callback() = default;

struct FutureState::Changed {
  std::condition_variable condition;
};

FutureState::FutureState() : changed_(new Changed) {
  callbacks_.reserve(1);  // the first callback needs no memory: see callback_of()
}

// A callback or a value may own another future.
struct FutureStateEnd {
  static FutureState*& next(FutureState& state) noexcept { return state.next_dead_; }
  static void destroy(FutureState& state) noexcept { delete &state; }
};

void FutureState::unreferenced() noexcept {
  constexpr std::size_t kTrashSlot = 4;  // see core::Nesting
  static constinit thread_local core::Trashcan<FutureState, FutureStateEnd, kTrashSlot> trashcan;
  trashcan.end(*this);
}

FutureState::~FutureState() {  // NOLINT(modernize-use-equals-default): not with TSan
#ifdef FIBER_TSAN
  // The thread that drops the last handle frees an exception that another thread caught and read.
  // The C++ runtime's counter orders the two threads, but TSan does not see it.
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  error_ = nullptr;
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
#endif
}

const char* FutureState::phase_name(Phase phase) {
  switch (phase) {
    case Phase::PENDING: return "PENDING";
    case Phase::RUNNING: return "RUNNING";
    case Phase::CANCELLED: return "CANCELLED";
    case Phase::CANCELLED_AND_NOTIFIED: return "CANCELLED_AND_NOTIFIED";
    case Phase::FINISHED: break;
  }
  return "FINISHED";
}

bool FutureState::cancel() {
  std::unique_lock lock(mutex_);
  if (is_done()) return is_cancelled();
  if (phase_ == Phase::RUNNING) return false;
  phase_ = Phase::CANCELLED;
  run_callbacks(std::move(lock));
  return true;
}

bool FutureState::cancelled() const {
  const std::lock_guard lock(mutex_);
  return is_cancelled();
}

bool FutureState::running() const {
  const std::lock_guard lock(mutex_);
  return phase_ == Phase::RUNNING;
}

bool FutureState::done() const {
  const std::lock_guard lock(mutex_);
  return is_done();
}

void FutureState::wait_until_done(std::unique_lock<std::mutex>& lock, Timeout timeout) {
  const auto ready = [this] { return is_done(); };
  if (ready()) return;
  if (const auto deadline = timeout.deadline()) {
    if (!changed_->condition.wait_until(lock, *deadline, ready)) throw TimeoutError();
  } else {
    changed_->condition.wait(lock, ready);
  }
}

std::exception_ptr FutureState::exception(Timeout timeout) {
  std::unique_lock lock(mutex_);
  wait_until_done(lock, timeout);
  if (is_cancelled()) throw CancelledError();
  return error_;
}

std::unique_lock<std::mutex> FutureState::wait_for_value(Timeout timeout) {
  std::unique_lock lock(mutex_);
  wait_until_done(lock, timeout);
  if (is_cancelled()) throw CancelledError();
  if (error_) {
    const std::exception_ptr error = error_;
    lock.unlock();
    std::rethrow_exception(error);
  }
  return lock;
}

void FutureState::throw_taken() {
  throw InvalidStateError("the result of this future was taken by take_result()");
}

bool FutureState::set_running_or_notify_cancel() {
  const std::lock_guard lock(mutex_);
  if (phase_ == Phase::PENDING) {
    phase_ = Phase::RUNNING;
    return true;
  }
  if (phase_ != Phase::CANCELLED) throw RuntimeError("Future in unexpected state");
  phase_ = Phase::CANCELLED_AND_NOTIFIED;
  notify_waiters();
  return false;
}

std::unique_lock<std::mutex> FutureState::begin_finish() {
  std::unique_lock lock(mutex_);
  if (is_done()) throw InvalidStateError(std::string(phase_name(phase_)) + ": " + describe());
  return lock;
}

void FutureState::finish(std::unique_lock<std::mutex> lock) {
  phase_ = Phase::FINISHED;
  notify_waiters();
  run_callbacks(std::move(lock));
}

void FutureState::set_exception(std::exception_ptr error) {
  if (!error) throw TypeError("a future's exception must not be null");
  auto lock = begin_finish();
  error_ = std::move(error);
  finish(std::move(lock));
}

void FutureState::notify_waiters() {
  for (const Registration& entry : waiters_) entry.waiter->ended(entry.position, error_ != nullptr);
  waiters_.clear();
}

void FutureState::add_callback(core::Owner<Callback> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (!is_done()) {
      callbacks_.push_back(std::move(callback));
      return;
    }
  }
  run_callback(*callback);
}

void FutureState::run_callbacks(std::unique_lock<std::mutex> lock) {
  const Ref<FutureState> self(this);  // a callback may drop every other handle
  const auto callbacks = std::exchange(callbacks_, {});
  changed_->condition.notify_all();
  lock.unlock();
  for (const auto& callback : callbacks) run_callback(*callback);
}

void FutureState::run_callback(Callback& callback) {
  try {
    callback.call(Ref<FutureState>(this));
  } catch (const fiber::detail::forced_unwind&) {
    throw;  // the thread ends
  } catch (const BaseException&) {
    throw;
  } catch (...) {
    report_callback();
  }
}

void FutureState::report_callback() const noexcept {
  try {
    report(("exception calling callback for " + repr()).c_str());
  } catch (...) {
    report("exception calling callback");
  }
}

std::string FutureState::repr() const {
  const std::lock_guard lock(mutex_);
  return describe();
}

std::string FutureState::describe() const {
  std::string text = "<Future at " + fiber::detail::address_repr(this) + " state=";
  switch (phase_) {
    case Phase::PENDING: text += "pending"; break;
    case Phase::RUNNING: text += "running"; break;
    case Phase::CANCELLED:
    case Phase::CANCELLED_AND_NOTIFIED: text += "cancelled"; break;
    case Phase::FINISHED:
      text += "finished " + (error_ ? "raised " + type_name(error_) : "returned " + value_type());
  }
  return text + ">";
}

std::vector<Verdict> wait(const std::vector<FutureBase>& futures, WaitOptions options) {
  std::vector<Verdict> verdicts(futures.size(), Verdict::repeated);
  Waiter waiter(options.return_when);
  try {
    for (std::size_t i = 0; i < futures.size(); ++i)
      if (waiter.watch(futures[i], i)) verdicts[i] = Verdict::not_done;
    waiter.wait(options.timeout);
  } catch (...) {
    for (const FutureBase& future : futures) waiter.forget(future);
    throw;
  }
  for (std::size_t i = 0; i < futures.size(); ++i)
    if (verdicts[i] != Verdict::repeated && waiter.forget(futures[i])) verdicts[i] = Verdict::done;
  return verdicts;
}

struct Completion::Impl {
  std::vector<FutureBase> futures;
  std::optional<Timeout::Clock::time_point> deadline;
  Waiter waiter{FIRST_COMPLETED};
  std::vector<std::size_t> ready = {};  // the next one last
};

Completion::Completion(std::vector<FutureBase> futures, Timeout timeout)
    : impl_(new Impl{std::move(futures), timeout.deadline()}) {
  try {
    for (std::size_t i = 0; i < impl_->futures.size(); ++i)
      impl_->waiter.watch(impl_->futures[i], i);
  } catch (...) {
    forget_all();
    throw;
  }
}

Completion::~Completion() { forget_all(); }

void Completion::forget_all() noexcept {
  for (const FutureBase& future : impl_->futures)
    if (future.id() != nullptr) impl_->waiter.forget(future);  // else it was moved from
}

std::optional<std::size_t> Completion::next() {
  if (impl_->ready.empty()) {
    impl_->ready = impl_->waiter.next(impl_->deadline);
    std::ranges::reverse(impl_->ready);
  }
  if (impl_->ready.empty()) return std::nullopt;
  const std::size_t position = impl_->ready.back();
  impl_->ready.pop_back();
  return position;
}

}  // namespace detail
}  // namespace fiber::concurrent::futures
