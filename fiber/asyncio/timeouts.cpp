#include <fiber/asyncio/timeouts.hpp>

#include <fiber/exceptions/repr.hpp>

#include <cmath>
#include <utility>

namespace fiber::asyncio {
namespace {

// Returns a time to three decimals.
double in_seconds(nanoseconds time) {
  return std::round(static_cast<double>(time.count()) / 1e6) / 1e3;
}

}  // namespace

Timeout::Timeout(Timeout&& other) noexcept : when_(other.when_), state_(other.state_) {}

Timeout::~Timeout() { timer_.cancel(); }

const char* Timeout::name_of(State state) noexcept {
  switch (state) {
    case State::created: return "created";
    case State::active: return "active";
    case State::expiring: return "expiring";
    case State::expired: return "expired";
    case State::finished: return "finished";
  }
  return "";
}

void Timeout::reschedule(std::optional<nanoseconds> when) {
  if (state_ == State::created) throw RuntimeError("Timeout has not been entered");
  if (state_ != State::active)
    throw RuntimeError(std::string("Cannot change state of ") + name_of(state_) + " Timeout");
  if (!task_) throw ValueError("a Timeout that was moved inside its block limits nothing");
  Handle timer = timer_for(when);
  timer_.cancel();
  timer_ = std::move(timer);
  when_ = when;
}

Handle Timeout::timer_for(std::optional<nanoseconds> when) {
  if (!when) return Handle();
  const EventLoop loop = get_running_loop();
  if (*when <= loop.time()) return loop.call_soon([this] { on_timeout(); });
  return loop.call_at(*when, [this] { on_timeout(); });
}

void Timeout::on_timeout() {
  task_.cancel();
  state_ = State::expiring;
  timer_ = Handle();  // so that leaving finds nothing to cancel
}

Timeout& Timeout::enter() {
  if (state_ != State::created) throw RuntimeError("Timeout has already been entered");
  if (detail::current_task_or_null() == nullptr)
    throw RuntimeError("Timeout should be used inside a task");
  task_ = current_task();
  cancelling_ = task_.cancelling();
  timer_ = timer_for(when_);
  state_ = State::active;
  return *this;
}

bool Timeout::exit(std::exception_ptr error) {
  timer_.cancel();
  timer_ = Handle();
  auto& task = static_cast<detail::TaskBase&>(task_.base());
  const bool overdue = task.has_told_library();
  error = task.overdue_cancellation(std::move(error));
  if (state_ == State::active) {
    state_ = State::finished;
  } else if (state_ == State::expiring) {
    state_ = State::expired;
    if (task_.uncancel() <= cancelling_ && error) {
      try {
        std::rethrow_exception(error);
      } catch (const CancelledError&) {
        std::throw_with_nested(TimeoutError());
      } catch (...) {
        // Another exception goes on unchanged.
      }
    }
  }
  if (overdue && error) std::rethrow_exception(error);
  return false;
}

std::string Timeout::repr() const {
  std::string text = std::string("<Timeout [") + name_of(state_) + "]";
  if (state_ == State::active)
    text += " when=" + (when_ ? fiber::detail::float_repr(in_seconds(*when_)) : "None");
  return text + ">";
}

namespace detail {

std::optional<nanoseconds> deadline_after(std::optional<nanoseconds> delay) {
  if (!delay) return std::nullopt;
  return nanoseconds(deadline_after(running_loop().now(), delay->count()));
}

}  // namespace detail
}  // namespace fiber::asyncio
