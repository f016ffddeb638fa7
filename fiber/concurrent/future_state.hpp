// The state of one future, which the handles of <fiber/concurrent/futures.hpp> share.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/core/ref.hpp>
#include <fiber/standard.hpp>
#include <fiber/core/type.hpp>
#include <fiber/exceptions.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace fiber::concurrent::futures {

/// Root of the errors of this layer.
class FIBER_API Error : public Exception {
 public:
  using Exception::Exception;
  ~Error() override;
};

/// The future was cancelled. An ordinary error, unlike asyncio::CancelledError.
class FIBER_API CancelledError : public Error {
 public:
  using Error::Error;
  ~CancelledError() override;
};

/// A result was set on a future that is done, or its value was already taken.
class FIBER_API InvalidStateError : public Error {
 public:
  using Error::Error;
  ~InvalidStateError() override;
};

using fiber::TimeoutError;

/// A limit for waiting: any std::chrono duration (3s, 0.5s), or none to wait as long as it takes. A
/// negative limit has passed at once. Throws ValueError if it is not a number.
class Timeout {
 public:
  using Clock = std::chrono::steady_clock;  ///< the clock of deadlines

  constexpr Timeout() noexcept = default;
  constexpr Timeout(std::nullopt_t) noexcept {}  // NOLINT(google-explicit-constructor)
  template <class Rep, class Period>
  constexpr Timeout(  // NOLINT(google-explicit-constructor)
      std::chrono::duration<Rep, Period> span) {
    using Seconds = std::chrono::duration<double>;
    const double seconds = std::chrono::duration_cast<Seconds>(span).count();
    if (seconds != seconds) throw ValueError("Invalid timeout: NaN (not a number)");
    if (seconds < 1e9) {  // more would overflow the clock, and means no limit
      span_ =
          seconds < 0 ? Clock::duration::zero() : std::chrono::duration_cast<Clock::duration>(span);
    }
  }

  /// Returns the time when the limit is over, counted from now; nullopt for no limit.
  std::optional<Clock::time_point> deadline() const {
    if (!span_) return std::nullopt;
    return Clock::now() + *span_;
  }

 private:
  std::optional<Clock::duration> span_;
};

class FutureBase;

namespace detail {

class FutureState;
class Waiter;

using core::Ref;

/// Writes `headline` and the exception being handled to stderr, as Python logs exceptions.
FIBER_API void report(const char* headline) noexcept;

struct FIBER_API Callback {
  virtual ~Callback();
  virtual void call(const Ref<FutureState>& state) = 0;
};

/// The state machine, free of the value's type:
/// PENDING -> RUNNING -> FINISHED, PENDING -> CANCELLED -> CANCELLED_AND_NOTIFIED, PENDING ->
/// FINISHED
class FIBER_API FutureState : public core::SharedCounted<FutureState> {
 public:
  FutureState();
  virtual ~FutureState();

  void unreferenced() noexcept;
  bool cancel();
  bool cancelled() const;
  bool running() const;
  bool done() const;
  std::exception_ptr exception(Timeout timeout);
  bool set_running_or_notify_cancel();
  void set_exception(std::exception_ptr error);
  void add_callback(core::Owner<Callback> callback);
  std::string repr() const;

 protected:
  /// Sets a value in three steps: begin, store the value, finish. Throws InvalidStateError if done.
  std::unique_lock<std::mutex> begin_finish();
  void finish(std::unique_lock<std::mutex> lock);
  /// Returns, with the lock, once the future has a value; throws in every other case.
  std::unique_lock<std::mutex> wait_for_value(Timeout timeout);
  [[noreturn]] static void throw_taken();
  bool shared() const noexcept { return refs() != 1; }

 private:
  friend class Waiter;
  friend struct FutureStateEnd;

  enum class Phase : unsigned char {
    PENDING,
    RUNNING,
    CANCELLED,
    CANCELLED_AND_NOTIFIED,
    FINISHED,
  };
  static const char* phase_name(Phase phase);
  bool is_done() const { return phase_ >= Phase::CANCELLED; }
  bool is_cancelled() const { return is_done() && phase_ != Phase::FINISHED; }
  void wait_until_done(std::unique_lock<std::mutex>& lock, Timeout timeout);
  void notify_waiters();
  void run_callbacks(std::unique_lock<std::mutex> lock);
  void run_callback(Callback& callback);
  void report_callback() const noexcept;
  std::string describe() const;
  virtual std::string value_type() const = 0;

  struct Changed;  // a condition variable, whose header takes long to compile
  struct Registration {
    Waiter* waiter;
    std::size_t position;
  };

  mutable std::mutex mutex_;
  const core::Owner<Changed> changed_;
  Phase phase_ = Phase::PENDING;
  std::exception_ptr error_;
  std::vector<core::Owner<Callback>> callbacks_;
  std::vector<Registration> waiters_;
  FutureState* next_dead_ = nullptr;  // in the trashcan
};

/// Returns the name that repr() shows for a result's type: Python's where Python has the type.
template <class T>
std::string type_name_of() {
  if constexpr (std::is_same_v<T, std::monostate>)
    return "NoneType";
  else if constexpr (std::is_same_v<T, bool>)
    return "bool";
  else if constexpr (std::integral<T>)
    return "int";
  else if constexpr (std::floating_point<T>)
    return "float";
  else if constexpr (std::is_same_v<T, std::string>)
    return "str";
  else
    return core::type_name<T>();
}

template <class T>
class ValueState final : public FutureState {
 public:
  void set(T value) {
    auto lock = begin_finish();
    value_.emplace(std::move(value));
    finish(std::move(lock));
  }

  const T& get(Timeout timeout) {
    const auto lock = wait_for_value(timeout);
    if (!value_) throw_taken();
    return *value_;
  }

  T take(Timeout timeout) {
    const auto lock = wait_for_value(timeout);
    if (!value_) throw_taken();
    T value = std::move(*value_);
    value_.reset();
    return value;
  }

  /// Returns the value, moved if possible: the calling handle goes away.
  T get_or_move(Timeout timeout) {
    if constexpr (!std::copy_constructible<T>) {
      return take(timeout);
    } else {
      const T& value = get(timeout);
      return shared() ? value : take(timeout);
    }
  }

 private:
  std::string value_type() const override { return type_name_of<T>(); }

  std::optional<T> value_;
};

}  // namespace detail
}  // namespace fiber::concurrent::futures
