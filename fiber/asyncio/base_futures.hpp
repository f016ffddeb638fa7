// The part of a future that does not depend on the type of its result.
#pragma once

#include <fiber/asyncio/ready_queue.hpp>
#include <fiber/asyncio/exceptions.hpp>
#include <fiber/config.hpp>
#include <fiber/core/list.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/core/ref.hpp>
#include <fiber/standard.hpp>

#include <cstdint>
#include <exception>
#include <string>
#include <utility>

namespace fiber::asyncio::detail {

class FutureBase;
class LoopObject;
class TaskBase;
class HandleObject;

/// A future's done-callback, in the order of registration. When the future is done each callback
/// itself becomes an entry of the ready queue: nothing is allocated then.
struct Callback {
  enum class Kind : std::uint8_t { task, handle, leaf };
  explicit Callback(Kind k) noexcept : kind(k) {}

  core::Links<Callback> links;   ///< in the future's list, or in a mailbox
  FutureBase* future = nullptr;  ///< the future with which it is registered, if any
  Kind kind;
};

/// A done-callback that is a step of the library's own; see Leaf.
struct LeafCallback : Callback, Leaf {
  LeafCallback() noexcept : Callback(Kind::leaf) {}
  /// Called in place of run when the loop is closed while this is in the queue.
  void (*drop)(LeafCallback* self) noexcept = nullptr;
  /// Returns the task or the combined future (a gather, a shield, the waiter of wait()) for which
  /// this waits, null if it is gone. A null pointer: not known. For code that looks at waiting tasks.
  FutureBase* (*dependent)(const LeafCallback& self) noexcept = nullptr;
  bool queued = false;  ///< in the ready queue: must stay in place until it has run or is dropped
};

enum class FutureState : std::uint8_t { pending, cancelled, finished };

/// Futures belong to one loop and so to one thread; the count is not atomic.
class FIBER_API FutureBase {
 public:
  explicit FutureBase(LoopObject* loop) noexcept {
    if (loop != nullptr) set_loop(loop);
  }
  FutureBase(const FutureBase&) = delete;
  FutureBase& operator=(const FutureBase&) = delete;
  virtual ~FutureBase() {
    if (!callbacks_.empty() || counts_for_loop_) leave();
  }

  void retain() noexcept { ++refs_; }
  void release() noexcept {
    if (--refs_ == 0) unreferenced();
  }
  std::uint32_t refs() const noexcept { return refs_; }

  LoopObject* loop() const noexcept { return loop_; }
  bool done() const noexcept { return state_ != FutureState::pending; }
  bool cancelled() const noexcept { return state_ == FutureState::cancelled; }
  FutureState state() const noexcept { return state_; }

  /// Cancels the future. Returns false if it was done already.
  virtual bool cancel(std::string message);

  /// Throws the exception of result() unless there is a result; marks an exception as seen.
  void check_result() {
    if (state_ != FutureState::finished || exception_ != nullptr) [[unlikely]]
      throw_no_result();
  }
  /// Returns the exception, or null. Throws CancelledError, InvalidStateError.
  std::exception_ptr exception();
  /// Returns the exception for code that passes an outcome on: no throw, no mark.
  const std::exception_ptr& peek_exception() const noexcept { return exception_; }
  void set_exception(std::exception_ptr exception);
  /// Ends a pending future with an exception of the library's own, which is no StopIteration: a
  /// look at its type would need memory.
  void end_with(std::exception_ptr exception) {
    store_exception(std::move(exception));
    complete(FutureState::finished);
  }
  /// Returns the CancelledError for code that looks at a cancelled future: the first caller gets
  /// the error that ended the task.
  std::exception_ptr make_cancelled_error() noexcept;
  /// Returns a new CancelledError, with the message of the cancellation.
  std::exception_ptr new_cancelled_error() const noexcept;

  /// Ends the future. The typed layer has stored the result right before.
  void finish() { complete(FutureState::finished); }
  /// Throws InvalidStateError if the future is done.
  void check_pending() const {
    if (done()) [[unlikely]]
      refuse_done();
  }

  /// Adds a callback: a task's wake-up, which needs no claim (see ReadyQueue), or one that has a
  /// claim.
  void add(Callback* callback) noexcept {
    callback->future = this;
    callbacks_.append(*callback);
  }
  void remove(Callback* callback) noexcept {
    callbacks_.remove(*callback);
    callback->future = nullptr;
    if (callback->kind != Callback::Kind::task) give_back_claim();
  }
  const core::List<Callback>& callbacks() const noexcept { return callbacks_; }
  /// Claims room for callbacks that will be registered, not of tasks. Throws std::bad_alloc.
  void claim(std::size_t count = 1);
  /// Registers, or queues at once if the future is done. Throws std::bad_alloc, RuntimeError.
  void add_or_schedule(core::Ref<HandleObject> handle);
  void add_or_schedule(LeafCallback* callback);
  /// Does add_or_schedule() for a callback that has a claim, which is given back if this throws
  /// RuntimeError.
  void add_or_schedule_claimed(LeafCallback* callback);

  void set_log_traceback(bool log) noexcept { log_traceback_ = log; }
  bool log_traceback() const noexcept { return log_traceback_; }
  bool is_task() const noexcept { return is_task_; }
  bool is_gather() const noexcept { return is_gather_; }

  /// Returns the address of the result: the typed layer's offset from this object.
  void* result_address() noexcept { return reinterpret_cast<char*>(this) + result_offset_; }
  virtual std::string repr() const;
  /// Returns Python's name of the class, for "exception was never retrieved".
  virtual const char* class_name() const noexcept { return "Future"; }

  bool marked = false;  ///< for algorithms over lists of futures: seen already
  bool taken = false;   ///< the result was moved out; see check_not_taken

 protected:
  bool is_gather_ = false;
  std::uint32_t result_offset_ = 0;

  friend struct DebuggerFields;

  /// Makes a future on the stack of a task that waits: its loop cannot end before it.
  struct on_stack {};
  FutureBase(on_stack, LoopObject& loop) noexcept : loop_(&loop), refs_(1) {}

  void complete(FutureState state) {
    state_ = state;
    if (!callbacks_.empty()) schedule_callbacks();
  }
  void schedule_callbacks();
  void drop_callbacks() noexcept;
  bool cancel_now(const std::string& message);
  /// Keeps the message of a cancellation; without memory the cancellation has none.
  void keep_cancel_message(const std::string& message) noexcept {
    cancel_message_ = nullptr;
    if (!message.empty()) [[unlikely]]
      copy_cancel_message(message);
  }
  void copy_cancel_message(const std::string& message) noexcept;
  void store_exception(std::exception_ptr exception) noexcept {
    exception_ = std::move(exception);
    log_traceback_ = true;
  }
  virtual void unreferenced() noexcept;
  /// Destroys an object that has no references any more.
  void end() noexcept;
  void report_unretrieved() noexcept;
  [[noreturn]] void refuse_done() const;
  [[noreturn]] void throw_no_result();
  std::string repr_info() const;
  /// Returns " created at …", if that place is known.
  std::string created_at() const;
  void give_back_claim() noexcept;
  void check_callable();
  void set_loop(LoopObject* loop) noexcept;
  void leave() noexcept;

  LoopObject* loop_ = nullptr;
  std::uint32_t refs_ = 0;
  FutureState state_ = FutureState::pending;
  bool log_traceback_ = false;
  bool is_task_ = false;
  bool counts_for_loop_ = false;
  core::List<Callback> callbacks_;
  std::exception_ptr exception_;  ///< if cancelled: the CancelledError to show first
  core::Owner<std::string> cancel_message_;

 private:
  friend struct FutureEnd;
  FutureBase* next_dead_ = nullptr;
};

}  // namespace fiber::asyncio::detail
