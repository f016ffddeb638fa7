// The object behind a `greenlet` handle, and the per-thread part of the greenlet layer. Internal:
// only greenlet.cpp and the layers above use these declarations in their objects.
//
// Invariants
//  1. Exactly one greenlet of a thread is current. Other threads than the owner write only
//     `foreign_refs` and `weak`, with the inbox locked `returned` and `next_returned`, and the
//     members that 5 changes; they read only these, `state`, `is_main` and the name.
//  2. References are counted twice: `refs` by the owner without atomics, `foreign_refs` by all
//     other threads. A foreign thread never gives a reference up itself: the reference goes back to
//     the owner's inbox, so only the owner can see the sum reach zero. Once the owner has exited,
//     any thread gives references up, with the inbox locked.
//  3. Being current is not a reference: after a switch, receive() looks whether the greenlet left
//     behind still has references, and unwinds it if not.
//  4. The mailbox is filled right before a switch and emptied right after arrival; no user code
//     runs in between.
//  5. A pending greenlet may pass to another thread, by being given a parent there: it is in no
//     list until it starts. Meanwhile only the thread that moves it may use it.
#pragma once

#include <fiber/core/block_pool.hpp>
#include <fiber/core/list.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/core/ref.hpp>
#include <fiber/core/switch.hpp>
#include <fiber/core/thread_state.hpp>
#include <fiber/standard/function.hpp>
#include <fiber/value.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <new>
#include <string>
#include <utility>

namespace fiber {
class greenlet;
using trace_function =
    std::function<void(const char* event, const greenlet& origin, const greenlet& target)>;
}  // namespace fiber

namespace fiber::detail {

class GreenletThread;
struct Inbox;
struct WeakBlock;

inline constexpr std::size_t kThreadSlot = 0;  // see core::ThreadState::layers

// The callable of a greenlet, its parameters' types erased.
class Run {
 public:
  virtual ~Run() = default;
  static void* operator new(std::size_t size) {
    return core::allocate_block(size, std::align_val_t(__STDCPP_DEFAULT_NEW_ALIGNMENT__));
  }
  static void* operator new(std::size_t size, std::align_val_t alignment) {
    return core::allocate_block(size, alignment);
  }
  static void operator delete(void* memory, std::size_t size) noexcept {
    core::release_block(memory, size, std::align_val_t(__STDCPP_DEFAULT_NEW_ALIGNMENT__));
  }
  static void operator delete(void* memory, std::size_t size, std::align_val_t alignment) noexcept {
    core::release_block(memory, size, alignment);
  }
  virtual value call(value arguments) = 0;
};

struct Outcome {
  Outcome() noexcept = default;
  Outcome(value its_result, std::exception_ptr its_error) noexcept
      : result(std::move(its_result)), error(std::exchange(its_error, nullptr)) {}
  // LLVM's library copies an exception_ptr on a move. The last frames of an ended greenlet are not
  // unwound, so that a copy in them would stay for ever.
  Outcome(Outcome&& other) noexcept
      : result(std::move(other.result)), error(std::exchange(other.error, nullptr)) {}
  Outcome& operator=(Outcome&& other) noexcept {
    result = std::move(other.result);
    error = std::exchange(other.error, nullptr);
    return *this;
  }
  value result;
  std::exception_ptr error;
};

// The data that a layer above keeps for a greenlet. Counted by any thread.
struct FIBER_API Belongings : core::SharedCounted<Belongings> {
  virtual ~Belongings();
};

enum class GreenletState : std::uint8_t { pending, suspended, current, dead };

// A state that other threads may read, at the cost of a plain variable.
class SharedState {
 public:
  SharedState() noexcept = default;
  SharedState(const SharedState&) = delete;
  SharedState& operator=(const SharedState&) = delete;
  SharedState& operator=(GreenletState state) noexcept {
    state_.store(state, std::memory_order_relaxed);
    return *this;
  }
  operator GreenletState() const noexcept {  // NOLINT(google-explicit-constructor)
    return state_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<GreenletState> state_{GreenletState::pending};
};

class FIBER_API GreenletObject {
 public:
  enum class Listed : bool { when_started, at_once };
  // The greenlet belongs to the calling thread, and takes part in its list of live greenlets.
  explicit GreenletObject(GreenletThread& thread, Listed listed = Listed::at_once);
  GreenletObject(const GreenletObject&) = delete;
  GreenletObject& operator=(const GreenletObject&) = delete;
  virtual ~GreenletObject();

  static void* operator new(std::size_t size) {
    return core::allocate_block(size, std::align_val_t(alignof(void*)));
  }
  static void operator delete(void* memory, std::size_t size) noexcept {
    core::release_block(memory, size, std::align_val_t(alignof(void*)));
  }

  // Ends an object that has no references any more and cannot run.
  virtual void dispose() noexcept { delete this; }
  virtual std::string display_name() const { return name ? *name : std::string(); }

  // One cache line, with the pointer to the virtual functions and the part of `context` that is
  // always used: all data that a scheduler's switch touches.
  SharedState state;
  bool started = false;
  bool waiting = false;     // only the thread's scheduler may continue it
  bool unkillable = false;  // outlived its GreenletExit; counts as one reference
  bool is_main = false;
  bool scheduled = false;  // the layer above ends it
  bool listed = false;
  core::Context context;
  std::atomic<GreenletThread*> owner;
  int refs = 0;
  std::atomic<int> foreign_refs{0};

  GreenletObject* parent = nullptr;         // counted; null for main
  std::uint32_t returned = 0;               // references in the owner's inbox
  core::StackShape stack_shape;             // the shape that it wants
  GreenletObject* next_returned = nullptr;  // links a stack of objects in the inbox
  core::Stack* stack = nullptr;
  core::Owner<Run> run;
  core::Ref<Belongings> belongings;
  core::Owner<std::string> name;
  void* user_data = nullptr;  // for a layer above
  std::atomic<WeakBlock*> weak{nullptr};
  core::Links<GreenletObject> links;  // in the thread's list of live greenlets

  // A handle that is not counted, so that `getcurrent().parent().switch_()` leaves no reference to
  // the running greenlet on its own stack, where nothing could ever drop it.
  const greenlet& borrowed() const noexcept {
    return *reinterpret_cast<const greenlet*>(borrowed_);
  }

  long references() const noexcept {
    return long{refs} + foreign_refs.load(std::memory_order_acquire);
  }
  bool unreferenced() const noexcept { return references() == 0; }

  // Gives up the last reference without any call, for an object that lies inside another one.
  // Returns false, and does nothing, unless the caller has the only reference to a greenlet that
  // cannot run and whose parent lives on.
  bool give_up_last() noexcept;

 private:
  alignas(void*) std::byte borrowed_[sizeof(void*)];
};

FIBER_API void retain(GreenletObject* object) noexcept;
// Gives up a reference. Giving up the last one may unwind the greenlet, and so run any code.
FIBER_API void release(GreenletObject* object) noexcept;

// The function given to settrace(). A running call of it keeps this object, for it may set another.
struct TraceCallback : core::Counted<TraceCallback> {
  explicit TraceCallback(trace_function given) : call(std::move(given)) {}
  trace_function call;
};

// The functions and texts of the scheduler, the layer above that alone continues waiting greenlets.
struct Scheduler {
  // Returns the heir: the greenlet that takes the outcome of one whose parent waits. Null if there
  // is none.
  GreenletObject* (*heir)() noexcept;
  // The texts of errors after the name of a waiting greenlet: on a switch to it, and on a throw
  // into it.
  const char* not_to_be_switched_to;
  const char* not_to_be_thrown_into;
};

class FIBER_API GreenletThread final : public core::ThreadLayer {
 public:
  explicit GreenletThread(core::ThreadState& thread);
  ~GreenletThread() override;

  void thread_exits() noexcept override;
  const char* running_name() const noexcept override;

  FIBER_INLINE value switch_to(GreenletObject* target, value arguments) {
    if (can_leave_for(target)) [[likely]] {
      mail_.result = std::move(arguments);
      leave_for(target);
      return receive();
    }
    return switch_slow(target, std::move(arguments));
  }
  // Switches without arguments: the mailbox stays empty.
  FIBER_INLINE value switch_to(GreenletObject* target) {
    if (can_leave_for(target)) [[likely]] {
      leave_for(target);
      return receive();
    }
    return switch_slow(target, value());
  }
  value throw_into(GreenletObject* target, std::exception_ptr error);

  // Takes back the references that other threads gave up; may unwind greenlets.
  void drain_inbox() noexcept {
    if (has_returned_.load(std::memory_order_relaxed)) [[unlikely]]
      drain_inbox_slow();
  }

  // Makes `target` current without an outcome, and without a look at the greenlet left behind. For
  // the layers above, which schedule greenlets themselves.
  FIBER_INLINE void resume(GreenletObject* target) noexcept {
    GreenletObject* from = current;
    from->state = GreenletState::suspended;
    target->state = GreenletState::current;
    current = target;
    core::switch_context(thread, from->context, target->context);
  }

  // Notes that control is about to come back to `target` from a greenlet that has ended. For the
  // layers above.
  void arrives_alone(GreenletObject* target) noexcept { origin_ = target; }

  void set_parent(GreenletObject* object, GreenletObject* parent);
  void unwind(GreenletObject* object) noexcept;
  void link(GreenletObject* object) noexcept;
  static void unlink(GreenletObject* object) noexcept;
  // Returns the number of this thread's greenlets, dead ones with handles included.
  long object_count() noexcept;

  core::ThreadState& thread;
  GreenletObject* current;
  GreenletObject* main;
  core::Ref<TraceCallback> trace;
  const Scheduler* scheduler = nullptr;  // null: no scheduler, and no greenlet waits
  core::List<GreenletObject> live;       // newest first
  long live_objects = 0;                 // made here or taken over, and not freed here

 private:
  friend FIBER_API void release(GreenletObject* object) noexcept;
  friend class ForkGuard;

  struct Route {
    GreenletObject* target;
    bool start;
  };

  FIBER_INLINE bool can_leave_for(const GreenletObject* target) const noexcept {
    return target->owner.load(std::memory_order_relaxed) == this &&
           target->state == GreenletState::suspended && !target->waiting &&
           !has_returned_.load(std::memory_order_relaxed);
  }
  FIBER_INLINE void leave_for(GreenletObject* target) noexcept {
    GreenletObject* from = current;
    from->state = GreenletState::suspended;
    target->state = GreenletState::current;
    origin_ = from;
    current = target;
    core::switch_context(thread, from->context, target->context);
  }
  FIBER_INLINE value receive() {
    if (trace == nullptr && origin_->refs > 0 && mail_.error == nullptr) [[likely]] {
      if (mail_.result.empty()) return value();
      return std::move(mail_.result);
    }
    return receive_slow();
  }

  value receive_slow();
  value switch_slow(GreenletObject* target, value arguments);
  value start(GreenletObject* target, core::Stack* stack);
  value deliver(Route route, Outcome outcome);
  value deliver_to(GreenletObject* target, Outcome outcome, const char* what);
  Route route(GreenletObject* from, Outcome& outcome);
  GreenletObject* finish(GreenletObject* ended, Outcome outcome);
  void fetch_ahead(const GreenletObject* ended) const noexcept;
  void call_trace(const char* event, GreenletObject* origin, GreenletObject* target);
  void check_thread(GreenletObject* target);
  bool descends(const GreenletObject* at, const GreenletObject* object) noexcept;
  void take_over(GreenletObject* object);
  void end_newest() noexcept;
  static void abandon(GreenletObject* object) noexcept;
  void drain_inbox_slow() noexcept;
  GreenletObject* drop(GreenletObject* object) noexcept;
  static void entry(void* object);
  static GreenletObject* free_object(GreenletObject* object) noexcept;
  static GreenletObject* drop_foreign(GreenletObject* object) noexcept;

  Outcome mail_;
  GreenletObject* origin_ = nullptr;

  const core::Owner<Inbox> inbox_;
  std::atomic<bool> has_returned_{false};  // something is in the inbox
};

FIBER_API GreenletThread& make_greenlet_thread(core::ThreadState& thread);

// Returns the greenlet part of `thread`; null if the thread has used no greenlet yet, or no fiber.
inline GreenletThread* greenlet_thread_of(const core::ThreadState* thread) noexcept {
  return core::layer_of<GreenletThread>(thread, kThreadSlot);
}

inline GreenletThread& greenlet_thread() {
  return core::layer_of_this_thread<GreenletThread, make_greenlet_thread>(kThreadSlot);
}

}  // namespace fiber::detail
