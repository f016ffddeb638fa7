// The object behind a `Generator` handle: a stack segment that runs as a part of its consumer.
//
// Invariants
//  1. A *root* is a generator that a consumer asks for items; a *leaf* is the end of its chain of
//     delegates (the root itself without yield_from). The consumer and the leaf switch to each
//     other directly: an item costs the same at every depth.
//  2. Roots and leaves come in pairs: `leaf->root == root` if and only if `root->active == leaf`.
//     While they are paired, `delegator` leads from the leaf up to the root.
//  3. `ready` of a paired root is its thread while the leaf is suspended, kNotReady while the leaf
//     runs; every other generator has kNotReady. A direct request to a generator within another's
//     chain takes the leaf away from its root, which looks for it again at its next turn.
//  4. A consumer holds a reference while it asks for an item, so a running generator is never
//     destroyed.
//  5. `yieldable` is the generator's stack while a yield on it needs no further look.
#pragma once

#include <fiber/core/list.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/core/ref.hpp>
#include <fiber/core/switch.hpp>
#include <fiber/core/thread_state.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>

namespace fiber::detail {

class GeneratorObject;

// The hooks by which a layer above follows a thread's generators. Python: sys.set_asyncgen_hooks.
struct GeneratorHooks {
  // Called when a generator is asked for its first item.
  void (*started)(GeneratorObject*) noexcept;
  // Called when a suspended generator has lost its last handle. Returns true if the hook has taken
  // a handle, and will close the generator.
  bool (*dropped)(GeneratorObject*) noexcept;
};
// Sets the hooks for this thread; null for none.
FIBER_API void set_generator_hooks(const GeneratorHooks* hooks) noexcept;

class FIBER_API GeneratorObject {
 public:
  // The generator belongs to the calling thread and starts with one reference.
  GeneratorObject();
  GeneratorObject(const GeneratorObject&) = delete;
  GeneratorObject& operator=(const GeneratorObject&) = delete;
  virtual ~GeneratorObject();

  void retain() noexcept { ++refs; }
  void release() noexcept {
    if (--refs == 0) [[unlikely]]
      unreferenced();
  }

  // Continues the body until its next item (true; `item` points to it) or its end (false). Throws
  // the exceptions of the body. `value` points to the sent value, null for none.
  FIBER_INLINE bool advance(void* value) {
    core::ThreadState* running = core::tls_thread_state;
    if (ready != reinterpret_cast<std::uintptr_t>(running)) [[unlikely]]
      return advance_slow(value);
    ready = kNotReady;
    active->sent = value;
    caller.stack = running->stack;
    core::exchange_context(*running, caller, active->context);
    if (item == nullptr) [[unlikely]] {
      core::run_errands(*running);
      return ended();
    }
    ready = reinterpret_cast<std::uintptr_t>(running);
    return true;
  }
  bool throw_in(std::exception_ptr exception);
  void close();

  // In the body: hands the item over and waits for the next request; throws the exception thrown
  // in.
  FIBER_INLINE void suspend(void* object) {
    hand_over(object);
    if (error != nullptr) [[unlikely]]
      raise();
  }
  // In the body: hands the item over as suspend() does, but returns the exception thrown in.
  FIBER_INLINE std::exception_ptr suspend_and_catch(void* object) {
    hand_over(object);
    return std::exchange(error, nullptr);
  }
  // In the body: runs `inner` in place of the body until `inner` ends.
  void delegate_to(GeneratorObject* inner);

  enum class Phase : std::uint8_t { created, started, closed };
  static constexpr std::uintptr_t kNotReady = 1;

  // Returns this thread's generators that have started and not ended, newest first.
  static const core::List<GeneratorObject>& all_started() noexcept;
  bool executing() const noexcept;
  std::string display_name() const { return name != nullptr ? *name : std::string(); }

  std::uintptr_t ready = kNotReady;
  GeneratorObject* active = nullptr;
  void* item = nullptr;   // of a root: the item that the leaf yielded; null once it has ended
  core::Context caller;   // of a root: the consumer
  core::Context context;  // of a suspended body; names its stack from the start
  core::Stack* yieldable = nullptr;
  GeneratorObject* root = nullptr;
  void* sent = nullptr;
  std::exception_ptr error;  // to be thrown in the body, or by it in the consumer
  long refs = 1;

  Phase phase = Phase::created;
  bool closing = false;       // its delegator is in close(): it must not yield
  bool exited = false;        // ended by GeneratorExit
  bool abandoned = false;     // outlived its close(), and has no handles
  bool inner_exited = false;  // GeneratorExit ended `delegate`
  std::exception_ptr inner_error;
  std::exception_ptr pending_exit;      // to be thrown here once `delegate` is closed
  GeneratorObject* delegate = nullptr;  // kept by the frame that waits in delegate_to
  GeneratorObject* delegator = nullptr;
  GeneratorObject* forwarding = nullptr;  // an inner generator of other types, not `delegate`
  core::Stack* stack = nullptr;
  core::ThreadState* thread;
  core::StackShape stack_shape;
  core::Owner<std::string> name;
  std::uint64_t scope = 0;             // the number of its owner, for the hooks; 0: none
  core::Links<GeneratorObject> links;  // in the thread's list of started ones, or in the trashcan

 protected:
  virtual void run_body() = 0;
  virtual void drop_body() noexcept = 0;

  // Makes an inner generator of other types visible to yield_from_target().
  class Forwarding {
   public:
    Forwarding(GeneratorObject& outer, GeneratorObject* inner) noexcept : outer_(outer) {
      outer.forwarding = inner;
    }
    Forwarding(const Forwarding&) = delete;
    Forwarding& operator=(const Forwarding&) = delete;
    ~Forwarding() { outer_.forwarding = nullptr; }

   private:
    GeneratorObject& outer_;
  };

 private:
  struct Request;
  struct Claim {
    GeneratorObject* leaf;
    bool at_yield;  // false: it waits in delegate_to
  };

  FIBER_INLINE void hand_over(void* object) {
    core::ThreadState* running = core::tls_thread_state;
    if (running == nullptr || running->stack != yieldable) [[unlikely]] {
      hand_over_slow(object);
    } else {
      root->item = object;
      core::exchange_context(*running, context, root->caller);  // a consumer does not end here
    }
  }

  bool advance_slow(void* value);
  void hand_over_slow(void* object);
  bool ended();
  [[noreturn]] void raise();

  bool ask(Request request);
  Claim claim(GeneratorObject* top, const std::exception_ptr& thrown);
  void prepare_start();
  void pair_with(GeneratorObject* leaf) noexcept;
  GeneratorObject* leaf() noexcept;
  static bool running(const GeneratorObject* leaf) noexcept;
  static GeneratorObject* meeting(GeneratorObject* a, GeneratorObject* b) noexcept;
  static void entry(void* object);
  void execute();
  const core::Context& finish() noexcept;
  void end_unstarted() noexcept;
  void unreferenced() noexcept;
  void close_unwanted() noexcept;
  void report(std::exception_ptr problem) noexcept;
  static void destroy(GeneratorObject* object) noexcept;
  void link() noexcept;
  void unlink() noexcept;

  friend struct GeneratorThreadExit;
};

}  // namespace fiber::detail
