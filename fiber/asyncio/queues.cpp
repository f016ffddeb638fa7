#include <fiber/asyncio/queues.hpp>

#include <fiber/exceptions/repr.hpp>

namespace fiber::asyncio::detail {

QueueBase::QueueBase(std::ptrdiff_t maxsize) : maxsize_(maxsize) {
  finished_.retain();  // lives and dies with the queue
  finished_.set();
}

QueueBase::~QueueBase() = default;

void QueueBase::wake_up_next(WaitingLine& waiters) {
  while (TaskInLine* waiter = waiters.first()) {
    waiter->leave();
    if (!waiter->done()) {
      waiter->finish();
      return;
    }
  }
}

template <class Ready>
void QueueBase::wait_until(WaitingLine& waiters, Ready ready) {
  while (!ready()) {
    if (shut_down_) throw QueueShutDown();
    TaskBase& task = task_that_waits(*this);
    TaskInLine waiter(waiters, *task.loop());
    try {
      waiter.wait(task);
    } catch (...) {
      waiter.leave();
      // Woken, but unable to take the item: the next in line may.
      if (ready() && waiter.done() && !waiter.cancelled()) wake_up_next(waiters);
      throw;
    }
  }
}

void QueueBase::wait_for_item() {
  wait_until(getters_, [this] { return qsize() != 0; });
}

void QueueBase::wait_for_room() {
  wait_until(putters_, [this] { return !full_with(qsize()); });
}

void QueueBase::refuse_put() const {
  if (shut_down_) throw QueueShutDown();
  throw QueueFull();
}

void QueueBase::refuse_get() const {
  if (shut_down_) throw QueueShutDown();
  throw QueueEmpty();
}

void QueueBase::task_done() {
  if (unfinished_tasks_ == 0) throw ValueError("task_done() called too many times");
  if (unfinished_tasks_ == 1) finished_.set();
  --unfinished_tasks_;
}

void QueueBase::join() {
  if (unfinished_tasks_ > 0) finished_.wait();
}

void QueueBase::shutdown(bool immediate) {
  getters_.check_thread();
  putters_.check_thread();
  finished_.check_thread();
  shut_down_ = true;
  if (immediate) {
    while (qsize() != 0) {
      discard_one();
      if (unfinished_tasks_ > 0) --unfinished_tasks_;
    }
    if (unfinished_tasks_ == 0) finished_.set();
  }
  while (!getters_.empty()) wake_up_next(getters_);
  while (!putters_.empty()) wake_up_next(putters_);
}

std::string QueueBase::format() const {
  std::string text = "maxsize=" + std::to_string(maxsize_);
  if (qsize() != 0) text += " _queue=[" + items_repr() + "]";
  if (!getters_.empty()) text += " _getters[" + std::to_string(getters_.size()) + "]";
  if (!putters_.empty()) text += " _putters[" + std::to_string(putters_.size()) + "]";
  if (unfinished_tasks_ != 0) text += " tasks=" + std::to_string(unfinished_tasks_);
  if (shut_down_) text += " shutdown";
  return text;
}

std::string QueueBase::repr() const {
  return std::string("<") + class_name() + " at " + fiber::detail::address_repr(this) + " " +
         format() + ">";
}

std::string QueueBase::str() const {
  return std::string("<") + class_name() + " " + format() + ">";
}

}  // namespace fiber::asyncio::detail
