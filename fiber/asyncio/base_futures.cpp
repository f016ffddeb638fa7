#include <fiber/asyncio/base_futures.hpp>

#include <fiber/asyncio/caught.hpp>
#include <fiber/asyncio/events.hpp>
#include <fiber/asyncio/object_registry.hpp>
#include <fiber/core/trashcan.hpp>
#include <fiber/exceptions/error_from.hpp>
#include <fiber/generator.hpp>

#include <exception>

namespace fiber::asyncio::detail {

namespace {

// The error in the place of a StopIteration; users see its name.
namespace pep479 {
class RuntimeError : public fiber::RuntimeError, public std::nested_exception {
 public:
  using fiber::RuntimeError::RuntimeError;
};
}  // namespace pep479

}  // namespace

std::exception_ptr instead_of_stop_iteration(const char* message) noexcept {
  return fiber::detail::error_from([&] { return pep479::RuntimeError(message); });
}

void FutureBase::set_loop(LoopObject* loop) noexcept {
  loop_ = loop;
  // The first living future keeps its loop; the others need not.
  if (loop->futures_alive++ == 0) loop->retain();
  counts_for_loop_ = true;
  if (loop->observation().registry() != nullptr) [[unlikely]]
    loop->observation().add(this);
}

void FutureBase::leave() noexcept {
  drop_callbacks();
  if (!counts_for_loop_) return;
  if (loop_->observation().registry() != nullptr) [[unlikely]]
    loop_->observation().remove(this);
  if (--loop_->futures_alive == 0) loop_->release();
}

void FutureBase::drop_callbacks() noexcept {
  while (Callback* callback = callbacks_.first()) {
    remove(callback);
    if (callback->kind == Callback::Kind::handle)
      static_cast<HandleObject*>(callback)->abandon();
    else if (callback->kind == Callback::Kind::leaf)
      static_cast<LeafCallback*>(callback)->drop(static_cast<LeafCallback*>(callback));
  }
}

// A result or a callback may own another future.
struct FutureEnd {
  static FutureBase*& next(FutureBase& object) noexcept { return object.next_dead_; }
  static void destroy(FutureBase& object) noexcept { delete &object; }
};

void FutureBase::unreferenced() noexcept {
  if (log_traceback_) report_unretrieved();
  if (refs_ == 0) end();
}

void FutureBase::end() noexcept {
  constexpr std::size_t kTrashSlot = 3;  // see core::Nesting
  static constinit thread_local core::Trashcan<FutureBase, FutureEnd, kTrashSlot> trashcan;
  trashcan.end(*this);
}

void FutureBase::report_unretrieved() noexcept {
  log_traceback_ = false;
  ++refs_;  // the handler may look at it, and keep it
  try {
    ExceptionContext context;
    context.message = std::string(class_name()) + " exception was never retrieved";
    context.exception = exception_;
    context.future = FutureRef(this);
    if (loop_ != nullptr && loop_->observation().registry() != nullptr)
      if (const ObjectRegistry::Record* record = loop_->observation().registry()->find(this))
        if (record->created != nullptr) context.source_traceback = record->created->traceback();
    if (loop_ != nullptr) loop_->errors().report(context);
  } catch (...) {
    // No memory for a report.
  }
  --refs_;
}

void FutureBase::refuse_done() const { throw InvalidStateError("invalid state"); }

bool FutureBase::cancel(std::string message) {
  log_traceback_ = false;
  return cancel_now(message);
}

void FutureBase::copy_cancel_message(const std::string& message) noexcept {
  try {
    cancel_message_ = core::make_owner<std::string>(message);
  } catch (const std::bad_alloc&) {
    // An error here matters less than the cancellation.
  }
}

bool FutureBase::cancel_now(const std::string& message) {
  if (done()) return false;
  keep_cancel_message(message);
  complete(FutureState::cancelled);
  return true;
}

std::exception_ptr FutureBase::make_cancelled_error() noexcept {
  if (cancelled() && exception_) return std::exchange(exception_, nullptr);
  return new_cancelled_error();
}

std::exception_ptr FutureBase::new_cancelled_error() const noexcept {
  if (cancel_message_ != nullptr) {
    try {
      return std::make_exception_ptr(CancelledError(*cancel_message_));
    } catch (const std::bad_alloc&) {
      // No memory: without a message.
    }
  }
  return std::make_exception_ptr(CancelledError());
}

void FutureBase::throw_no_result() {
  if (state_ == FutureState::finished) {
    log_traceback_ = false;
    std::rethrow_exception(exception_);
  }
  if (state_ == FutureState::cancelled) std::rethrow_exception(make_cancelled_error());
  throw InvalidStateError("Result is not set.");
}

std::exception_ptr FutureBase::exception() {
  if (state_ == FutureState::cancelled) std::rethrow_exception(make_cancelled_error());
  if (state_ == FutureState::pending) throw InvalidStateError("Exception is not set.");
  log_traceback_ = false;
  return exception_;
}

void FutureBase::set_exception(std::exception_ptr exception) {
  check_pending();
  if (exception == nullptr) throw TypeError("set_exception was given a null exception pointer");
  try {
    std::rethrow_exception(exception);
  } catch (const StopIteration&) {
    exception = instead_of_stop_iteration(
        "StopIteration interacts badly with generators and cannot be raised into a Future");
  } catch (...) {
  }
  store_exception(std::move(exception));
  complete(FutureState::finished);
}

void FutureBase::schedule_callbacks() {
  if (loop_->gone()) [[unlikely]] {
    const FutureRef held(this);  // a callback may hold the only other reference
    drop_callbacks();
    loop_->check_closed();
  }
  // Programs with threads call events, queues and locks from any thread sooner or later: check
  // here.
  if (loop_->debug() && !loop_->home().may_be_called()) [[unlikely]] {
    state_ = FutureState::pending;
    loop_->home().check_thread();
  }
  const core::List<Callback> all(std::move(callbacks_));
  for (Callback& callback : all) {
    callback.links = {};  // every callback leaves the list: reset all links
    callback.future = nullptr;
    if (callback.kind == Callback::Kind::handle)
      static_cast<HandleObject&>(callback).scheduled_by(this);
    loop_->push(&callback);
  }
}

void FutureBase::claim(std::size_t count) { loop_->ready_queue().claim(count); }

void FutureBase::give_back_claim() noexcept { loop_->ready_queue().give_back(); }

void FutureBase::add_or_schedule(core::Ref<HandleObject> handle) {
  claim();
  if (done()) {
    check_callable();
    handle->scheduled_by(this);
    loop_->push(handle.detach());
  } else {
    add(handle.detach());
  }
}

void FutureBase::add_or_schedule(LeafCallback* callback) {
  claim();
  add_or_schedule_claimed(callback);
}

void FutureBase::add_or_schedule_claimed(LeafCallback* callback) {
  if (done()) {
    check_callable();
    loop_->push(callback);
  } else {
    add(callback);
  }
}

// Throws if the loop is gone. The caller has a claim, which is given back in that case.
void FutureBase::check_callable() {
  if (loop_->gone()) [[unlikely]] {
    give_back_claim();
    loop_->check_closed();
  }
}

std::string FutureBase::repr_info() const {
  std::string text;
  switch (state_) {
    case FutureState::pending: text = "pending"; break;
    case FutureState::cancelled: text = "cancelled"; break;
    case FutureState::finished: text = "finished"; break;
  }
  if (state_ == FutureState::finished) {
    if (exception_) text += " exception=" + fiber::repr(exception_);
  } else if (const std::size_t count = callbacks_.size(); count != 0) {
    text += " cb=[" + std::to_string(count) + "]";
  }
  return text;
}

std::string FutureBase::repr() const {
  std::string text = "<";
  text.append(class_name()).append(" ").append(repr_info()).append(created_at()).append(">");
  return text;
}

std::string FutureBase::created_at() const {
  if (loop_ == nullptr || loop_->observation().registry() == nullptr) return "";
  const ObjectRegistry::Record* record = loop_->observation().registry()->find(this);
  return record != nullptr && record->created != nullptr ? " created at " + record->created->place()
                                                         : "";
}

}  // namespace fiber::asyncio::detail
