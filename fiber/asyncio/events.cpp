#include <fiber/asyncio/events.hpp>

#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/selectors.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/platform/thread.hpp>

#include <ostream>

#include <unistd.h>

namespace fiber::asyncio {

void Handle::cancel() const noexcept {
  if (object_) object_->cancel();
}
bool Handle::cancelled() const noexcept { return object_ && object_->cancelled(); }
contextvars::Context Handle::get_context() const {
  if (!object_) throw ValueError("this handle refers to no callback");
  if (!object_->context)
    object_->context =
        core::Ref<contextvars::detail::ContextObject>(contextvars::Context().object());
  return contextvars::Context(object_->context);
}
std::string Handle::repr() const { return object_ ? object_->repr() : "<Handle null>"; }
nanoseconds TimerHandle::when() const {
  if (object() == nullptr) throw ValueError("this handle refers to no callback");
  return nanoseconds(static_cast<detail::TimerObject*>(object())->node.when);
}

void EventLoop::refuse_null() {
  throw ValueError("this EventLoop refers to nothing; get one from asyncio::new_event_loop()");
}

void FutureRef::refuse_null() {
  throw ValueError("this future handle is null: it was default-constructed or moved from");
}

namespace detail {

void set_context(HandleObject* handle) { handle->context = contextvars::detail::copy_current(); }

void set_context(HandleObject* handle, const CallOptions& options) {
  if (!options.context) {
    set_context(handle);
    return;
  }
  handle->context = core::Ref<contextvars::detail::ContextObject>(options.context.object());
}

void prepare(HandleObject* handle) {
  set_context(handle);
  if (handle->loop()->debug()) [[unlikely]]
    handle->created = Origin::here();
}

void prepare(HandleObject* handle, const CallOptions& options) {
  set_context(handle, options);
  if (handle->loop()->debug()) handle->created = Origin::here();
}

}  // namespace detail

TimerHandle EventLoop::arm(core::Ref<detail::TimerObject> timer, nanoseconds when) const {
  object().check_closed();
  object().home().check_thread();
  timer->node.when = detail::bounded(when.count());
  timer->node.entry = detail::Entry(static_cast<detail::HandleObject*>(timer.get()));
  object().add_timer(&timer->node);
  timer->retain();  // the heap's
  object().embedding().deadline_changed();
  return TimerHandle(std::move(timer));
}

void EventLoop::run_forever() const { object().run_forever(); }
void EventLoop::stop() const { object().stop(); }
bool EventLoop::is_running() const { return object().is_running(); }
bool EventLoop::is_closed() const { return object().is_closed(); }
void EventLoop::close() const { object().close(); }
nanoseconds EventLoop::time() const { return nanoseconds(object().now()); }
void EventLoop::watch(int fd, bool for_writing, core::Ref<detail::HandleObject> handle) const {
  using For = detail::Selector::For;
  object().home().check_thread();
  object().selector().add(fd, for_writing ? For::writing : For::reading, std::move(handle));
}
bool EventLoop::remove_reader(FileDescriptorLike fd) const {
  object().home().check_thread();
  return object().selector().remove(fd.fileno(), detail::Selector::For::reading);
}
bool EventLoop::remove_writer(FileDescriptorLike fd) const {
  object().home().check_thread();
  return object().selector().remove(fd.fileno(), detail::Selector::For::writing);
}
bool EventLoop::get_debug() const { return object().debug(); }
void EventLoop::set_debug(bool enabled) const { object().observation().set_debug(enabled); }
bool EventLoop::get_raise_deadlock() const { return object().deadlock().raise; }
void EventLoop::set_raise_deadlock(bool enabled) const { object().deadlock().raise = enabled; }
nanoseconds EventLoop::slow_callback_duration() const {
  return object().observation().slow_callback_duration;
}
void EventLoop::slow_callback_duration(nanoseconds duration) const {
  object().observation().slow_callback_duration = duration;
}
bool EventLoop::remove_signal_handler(int signal) const {
  return object().signals().remove_handler(signal);
}

void EventLoop::set_task_factory(task_factory factory) const {
  object().tasks().set_factory(factory ? std::make_shared<task_factory>(std::move(factory))
                                       : nullptr);
}
task_factory EventLoop::get_task_factory() const {
  return object().tasks().factory() ? *object().tasks().factory() : task_factory();
}

void EventLoop::set_exception_handler(exception_handler handler) const {
  object().errors().handler =
      handler ? std::make_shared<exception_handler>(std::move(handler)) : nullptr;
}

exception_handler EventLoop::get_exception_handler() const {
  return object().errors().handler ? *object().errors().handler : exception_handler();
}

void EventLoop::call_exception_handler(const ExceptionContext& context) const {
  object().errors().report(context);
}

// Logs the context. The keys come in the order of their names, as CPython writes them.
void EventLoop::default_exception_handler(const ExceptionContext& context) const {
  std::string text =
      context.message.empty() ? "Unhandled exception in event loop" : context.message;
  const auto line = [&](const char* key, const std::string& value) {
    text += std::string("\n") + key + ": " + value;
  };
  const auto traceback = [&](const char* key, const char* title, const std::string& value) {
    line(key, std::string(title) + " created at (most recent call last):\n" + value);
    while (text.ends_with('\n')) text.pop_back();
  };
  std::string handle_traceback = context.handle_traceback;
  const detail::HandleObject* current = object().observation().current_handle();
  if (context.source_traceback.empty() && handle_traceback.empty() && current != nullptr &&
      current->created != nullptr)
    handle_traceback = current->created->traceback();
  if (context.asyncgen) line("asyncgen", fiber::repr(context.asyncgen));
  if (context.future) line("future", context.future.repr());
  if (context.handle) line("handle", context.handle.repr());
  if (!handle_traceback.empty()) traceback("handle_traceback", "Handle", handle_traceback);
  if (context.socket >= 0) line("socket", std::to_string(context.socket));
  if (!context.source_traceback.empty())
    traceback("source_traceback", "Object", context.source_traceback);
  if (context.task) line("task", context.task.repr());
  detail::log(LogLevel::error, std::move(text), context.exception);
}

EventLoop get_running_loop() { return EventLoop(&detail::running_loop()); }

EventLoop new_event_loop() { return EventLoop(new detail::LoopObject); }

EventLoop get_event_loop() {
  detail::AsyncioThread& thread = detail::asyncio_thread();
  if (thread.running != nullptr) return EventLoop(thread.running);
  if (thread.set == nullptr) {
    if (thread.set_called || !platform::is_first_thread())
      throw RuntimeError(
          "There is no current event loop in this thread: set one with "
          "asyncio::set_event_loop(asyncio::new_event_loop())");
    set_event_loop(new_event_loop());
  }
  return EventLoop(thread.set);
}

void set_event_loop(const EventLoop& loop) {
  detail::AsyncioThread& thread = detail::asyncio_thread();
  detail::LoopObject* next = loop ? &loop.object() : nullptr;
  thread.set_called = true;
  if (next != nullptr) next->retain();
  if (detail::LoopObject* previous = std::exchange(thread.set, next)) previous->release();
}

std::string repr(const FutureRef& future) { return future ? future.repr() : "<Future null>"; }

std::ostream& operator<<(std::ostream& out, const FutureRef& future) { return out << repr(future); }

}  // namespace fiber::asyncio
