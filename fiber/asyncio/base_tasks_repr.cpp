// The text of a task that is printed, as Python's repr.
#include <fiber/asyncio/base_tasks.hpp>

#include <fiber/exceptions/repr.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace fiber::asyncio::detail {

// Returns Python's repr. Of a long chain of tasks that wait for each other only the first ones are
// shown: each task may be reported, and the text of all reports together must not grow with the
// square of the length.
std::string TaskBase::repr() const {
  constexpr std::size_t kMostShown = 8;
  struct Chain {
    const TaskBase* first;
    std::vector<std::string> ends = {};  // text that follows the repr of the next task
    ~Chain() {
      const TaskBase* task = first;
      for (std::size_t left = ends.size(); left != 0; --left) {
        task->in_repr_ = false;
        if (left != 1) task = static_cast<const TaskBase*>(task->waiting_on_);
      }
    }
  } chain{this};
  std::string text;
  for (const TaskBase* task = this;; task = static_cast<const TaskBase*>(task->waiting_on_)) {
    if (task->in_repr_ || chain.ends.size() == kMostShown) {
      text += "...";  // as CPython, for a task that waits for itself
      break;
    }
    text += task->repr_before_wait();
    chain.ends.push_back(task->repr_after_wait());
    task->in_repr_ = true;
    if (task->done() || task->waiting_on_ == nullptr) break;
    text += " wait_for=";
    if (!task->waiting_on_->is_task()) {
      text += task->waiting_on_->repr();
      break;
    }
  }
  for (auto end = chain.ends.rbegin(); end != chain.ends.rend(); ++end) text += *end;
  return text;
}

std::string TaskBase::repr_before_wait() const {
  const char* state = cancelled() ? "cancelled" : "finished";
  if (!done()) state = cancel_requests_ > 0 ? "cancelling" : "pending";
  return "<Task " + std::string(state) + " name=" + fiber::detail::quoted(get_name()) + " coro=<" +
         coroutine_name().str() + "()" + (done() ? " done" : " running") + ">";
}

std::string TaskBase::repr_after_wait() const {
  std::string text;
  if (!done()) {
    const std::size_t count = callbacks_.size();
    if (count != 0) text += " cb=[" + std::to_string(count) + "]";
  }
  if (done() && exception_ && !cancelled()) text += " exception=" + fiber::repr(exception_);
  return text + created_at() + ">";
}

}  // namespace fiber::asyncio::detail
