// What stands behind a `greenlet` handle, and the per-thread part of the greenlet layer.
// Internal: only greenlet.cpp and the layers above include what is said here into their objects.
//
// Invariants
//  1. Exactly one greenlet of a thread is current; only its owner thread touches anything but
//     `foreign_refs` and `owner`, and reads anything but these, `state` and the name.
//  2. References are counted twice: `refs` by the owner without atomics, `foreign_refs` by all
//     others. A foreign thread never gives a reference up itself: it hands it back to the owner's
//     inbox, so only the owner can see the sum reach zero.
//  3. Being current is not a reference: who switches away looks whether the one left behind is
//     still wanted, and unwinds it if not.
//  4. The mailbox is filled right before a switch and emptied right after arrival; no user code
//     runs in between.
//  5. A pending greenlet may pass to another thread, by being given a parent there: it is in no
//     list until it starts. Whoever moves it is the only one to use it meanwhile.
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
  value result;
  std::exception_ptr error;
};

// What a layer above keeps for a greenlet, such as its context variables. Counted by any thread.
struct FIBER_API Belongings : core::SharedCounted<Belongings> {
  virtual ~Belongings();
};

enum class GreenletState : std::uint8_t { pending, suspended, current, dead };

// The state, which other threads may ask for: costs what a plain variable does.
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
  // Belongs to the calling thread; takes part in its list of live greenlets.
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

  // Called when nothing refers to it any more and it cannot run.
  virtual void dispose() noexcept { delete this; }
  virtual std::string display_name() const { return name ? *name : std::string(); }

  // One cache line, with the pointer to the virtual functions and the part of `context` that is
  // always used: all that a scheduler's switch touches.
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
  core::StackShape stack_shape;             // that it wants
  GreenletObject* next_returned = nullptr;  // in the inbox: a stack, taken out from its top alone
  core::Stack* stack = nullptr;
  core::Owner<Run> run;
  core::Ref<Belongings> belongings;
  core::Owner<std::string> name;
  void* user_data = nullptr;  // for the C interface
  std::atomic<WeakBlock*> weak{nullptr};
  core::Links<GreenletObject> links;  // in the thread's list of live ones

  // A handle that is not counted, so that `getcurrent().parent().switch_()` leaves no reference to
  // the running greenlet on its own stack, where nothing could ever drop it.
  const greenlet& borrowed() const noexcept {
    return *reinterpret_cast<const greenlet*>(borrowed_);
  }

  long references() const noexcept {
    return long{refs} + foreign_refs.load(std::memory_order_acquire);
  }
  bool unreferenced() const noexcept { return references() == 0; }

  // For an object that lies inside another one: true if the caller has the one reference to a
  // greenlet that cannot run, in which nothing is left to do but to end its life.
  bool give_up_last() noexcept;

 private:
  alignas(void*) std::byte borrowed_[sizeof(void*)];
};

FIBER_API void retain(GreenletObject* object) noexcept;
// May unwind the greenlet, and so run any code, when it was the last reference.
FIBER_API void release(GreenletObject* object) noexcept;

// What settrace() was given; kept by a call of it, which may replace it.
struct TraceCallback : core::Counted<TraceCallback> {
  explicit TraceCallback(trace_function given) : call(std::move(given)) {}
  trace_function call;
};

// What the layer that schedules greenlets tells this one: it alone continues those that wait.
struct Scheduler {
  // Who takes the outcome of a greenlet whose parent waits. Null if there is nobody.
  GreenletObject* (*heir)() noexcept;
  // What an error says of a greenlet that waits, after its name: to whoever switches to it, and to
  // whoever throws into it.
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
  // Without arguments: the mailbox is empty as it is.
  FIBER_INLINE value switch_to(GreenletObject* target) {
    if (can_leave_for(target)) [[likely]] {
      leave_for(target);
      return receive();
    }
    return switch_slow(target, value());
  }
  value throw_into(GreenletObject* target, std::exception_ptr error);

  // Takes references back that other threads gave up; may unwind greenlets.
  void drain_inbox() noexcept {
    if (has_returned_.load(std::memory_order_relaxed)) [[unlikely]]
      drain_inbox_slow();
  }

  // For the layers above, which schedule greenlets themselves: makes `target` current without
  // carrying anything and without looking at who is left behind.
  FIBER_INLINE void resume(GreenletObject* target) noexcept {
    GreenletObject* from = current;
    from->state = GreenletState::suspended;
    target->state = GreenletState::current;
    current = target;
    core::switch_context(thread, from->context, target->context);
  }

  // Likewise: control is about to come back to `target` from one that has ended.
  void arrives_alone(GreenletObject* target) noexcept { origin_ = target; }

  void set_parent(GreenletObject* object, GreenletObject* parent);
  void unwind(GreenletObject* object) noexcept;
  void link(GreenletObject* object) noexcept;
  static void unlink(GreenletObject* object) noexcept;
  // How many greenlets this thread answers for, dead ones that handles still refer to included.
  long object_count() noexcept;

  core::ThreadState& thread;
  GreenletObject* current;
  GreenletObject* main;
  core::Ref<TraceCallback> trace;
  const Scheduler* scheduler = nullptr;  // null: none, and then nobody waits
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

// The part of a thread that may have used no greenlet yet, or no fiber at all; null then.
inline GreenletThread* greenlet_thread_of(const core::ThreadState* thread) noexcept {
  return thread != nullptr ? static_cast<GreenletThread*>(thread->layers[kThreadSlot]) : nullptr;
}

inline GreenletThread& greenlet_thread() {
  core::ThreadState& thread = core::thread_state();
  GreenletThread* own = greenlet_thread_of(&thread);
  if (own == nullptr) [[unlikely]]
    return make_greenlet_thread(thread);
  return *own;
}

}  // namespace fiber::detail
