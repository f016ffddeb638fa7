#include <fiber/asyncio/events.hpp>

#include <cstdio>
#include <ostream>

#include <unistd.h>

namespace fiber::asyncio {

void Handle::cancel() const noexcept {
  if (object_ != nullptr) object_->cancel();
}
bool Handle::cancelled() const noexcept { return object_ != nullptr && object_->cancelled(); }
Handle::Handle(const Handle& other) noexcept : object_(other.object_) {
  if (object_ != nullptr) object_->retain();
}
Handle::~Handle() {
  if (object_ != nullptr) object_->release();
}

nanoseconds TimerHandle::when() const noexcept {
  return nanoseconds(static_cast<detail::TimerObject*>(object())->node.when);
}

EventLoop::EventLoop(detail::LoopObject* object) noexcept : object_(object) {
  if (object_ != nullptr) object_->retain();
}
EventLoop::EventLoop(const EventLoop& other) noexcept : EventLoop(other.object_) {}
EventLoop::~EventLoop() {
  if (object_ != nullptr) object_->release();
}

void EventLoop::refuse_null() {
  throw ValueError("this EventLoop refers to nothing; get one from asyncio::new_event_loop()");
}

void FutureRef::refuse_null() {
  throw ValueError("this future handle is null: it was default-constructed or moved from");
}

void EventLoop::inherit_context(detail::HandleObject* handle) {
  if (auto* context = fiber::detail::greenlet_thread().current->context_variables)
    handle->context = contextvars::detail::copy(context);
}

TimerHandle EventLoop::arm(detail::TimerObject* timer, nanoseconds when) const {
  TimerHandle handle(timer);
  object().check_closed();
  timer->node.when = when.count();
  timer->node.entry = detail::Entry(static_cast<detail::HandleObject*>(timer));
  timer->retain();
  object().add_timer(&timer->node);
  object().deadline_changed();
  return handle;
}

void EventLoop::run_forever() const { object().run_forever(); }
void EventLoop::stop() const noexcept { object().stop(); }
bool EventLoop::is_running() const noexcept { return object().is_running(); }
bool EventLoop::is_closed() const noexcept { return object().is_closed(); }
void EventLoop::close() const { object().close(); }
nanoseconds EventLoop::time() const noexcept { return nanoseconds(object().now()); }
bool EventLoop::remove_reader(int fd) const { return object().remove_reader(fd); }
bool EventLoop::remove_writer(int fd) const { return object().remove_writer(fd); }
bool EventLoop::get_debug() const noexcept { return object().debug; }
void EventLoop::set_debug(bool enabled) const noexcept { object().debug = enabled; }

void EventLoop::set_exception_handler(exception_handler handler) const {
  object().handler = handler ? std::make_shared<exception_handler>(std::move(handler)) : nullptr;
}

exception_handler EventLoop::get_exception_handler() const {
  return object().handler ? *object().handler : exception_handler();
}

void EventLoop::call_exception_handler(const ExceptionContext& context) const {
  object().call_exception_handler(context);
}

void EventLoop::default_exception_handler(const ExceptionContext& context) const {
  std::string text = context.message.empty() ? "Unhandled exception in event loop" : context.message;
  text += "\n";
  if (context.future)
    text += (context.future.base().is_task() ? "task: " : "future: ") + context.future.repr() + "\n";
  if (context.exception)
    text += type_name(context.exception) + ": " + str(context.exception) + "\n";
  std::fputs(text.c_str(), stderr);
}

EventLoop get_running_loop() { return EventLoop(&detail::running_loop()); }

EventLoop new_event_loop() { return EventLoop(new detail::LoopObject); }

EventLoop get_event_loop() {
  detail::AsyncioThread& thread = detail::asyncio_thread();
  if (thread.running != nullptr) return EventLoop(thread.running);
  if (thread.set == nullptr) {
    if (::gettid() != ::getpid())
      throw RuntimeError("There is no current event loop in this thread: set one with "
                         "asyncio::set_event_loop(asyncio::new_event_loop())");
    set_event_loop(new_event_loop());
  }
  return EventLoop(thread.set);
}

void set_event_loop(const EventLoop& loop) {
  detail::AsyncioThread& thread = detail::asyncio_thread();
  detail::LoopObject* next = loop ? &loop.object() : nullptr;
  if (next != nullptr) next->retain();
  if (detail::LoopObject* previous = std::exchange(thread.set, next)) previous->release();
}

std::string repr(const FutureRef& future) { return future ? future.repr() : "<Future null>"; }

std::ostream& operator<<(std::ostream& out, const FutureRef& future) { return out << repr(future); }

}  // namespace fiber::asyncio
