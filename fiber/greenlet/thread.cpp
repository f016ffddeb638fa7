#include <fiber/core/trashcan.hpp>
#include <fiber/core/undying.hpp>
#include <fiber/cxxabi.hpp>
#include <fiber/exceptions/is_exception.hpp>
#include <fiber/greenlet.hpp>
#include <fiber/greenlet/debugger_fields.hpp>
#include <fiber/greenlet/inbox.hpp>

#include <exception>

#include <pthread.h>

namespace fiber::detail {
namespace {

GreenletThread* own_thread() noexcept { return greenlet_thread_of(core::tls_thread_state); }

class MainGreenlet final : public GreenletObject {
 public:
  explicit MainGreenlet(GreenletThread& thread) : GreenletObject(thread) {
    state = GreenletState::current;
    started = true;
    is_main = true;
    refs = 1;  // the thread's own
  }
};

std::exception_ptr no_body(const char* what) {
  return std::make_exception_ptr(
      AttributeError(std::string("a greenlet without a body (run) cannot be ") + what));
}

std::string label(const GreenletObject* object) {
  const std::string name = object->display_name();
  return name.empty() ? repr(object->borrowed()) : "greenlet " + quoted(name);
}

[[noreturn]] void refuse_waiting(const GreenletObject* target, const char* Scheduler::*reason) {
  const GreenletThread* owner = target->owner.load(std::memory_order_relaxed);
  throw RuntimeError(label(target) + (owner->scheduler != nullptr
                                          ? owner->scheduler->*reason
                                          : " waits for a scheduler that has ended"));
}

}  // namespace

// Makes fork() leave the inbox unlocked in the child process, where the thread that may have locked
// it does not exist.
class ForkGuard {
 public:
  static void install() {
    static const bool done = (core::at_fork(lock, unlock, unlock), true);
    static_cast<void>(done);
  }

 private:
  static void lock() {
    if (GreenletThread* thread = own_thread()) thread->inbox_->mutex.lock();
  }
  static void unlock() {
    if (GreenletThread* thread = own_thread()) thread->inbox_->mutex.unlock();
  }
};

GreenletThread& make_greenlet_thread(core::ThreadState& thread) {
  ForkGuard::install();
  describe_greenlets();
  last_reference_dropped();  // so that unwinding needs no memory
  auto* created = new GreenletThread(thread);
  thread.layers[kThreadSlot] = created;
  return *created;
}

GreenletObject::GreenletObject(GreenletThread& thread, Listed when) : owner(&thread) {
  stack_shape = thread.thread.pool.default_shape();
  static_assert(sizeof(greenlet) == sizeof(borrowed_));
  new (borrowed_) greenlet(greenlet::borrow{}, this);
  ++thread.live_objects;
  if (when == Listed::at_once) thread.link(this);
}

Belongings::~Belongings() = default;
GreenletObject::~GreenletObject() = default;

// --- references ---------------------------------------------------------------------------------

void retain(GreenletObject* object) noexcept {
  if (object->owner.load(std::memory_order_relaxed) == own_thread())
    ++object->refs;
  else
    object->foreign_refs.fetch_add(1, std::memory_order_relaxed);
}

void release(GreenletObject* object) noexcept {
  // A loop, not a recursion: the last reference to a child may keep its parent, in chains of a
  // million.
  while (object != nullptr) {
    GreenletThread* owner = object->owner.load(std::memory_order_relaxed);
    object = owner == own_thread() ? owner->drop(object) : GreenletThread::drop_foreign(object);
  }
}

bool GreenletObject::give_up_last() noexcept {
  GreenletThread* thread = own_thread();
  const GreenletState now = state;
  if (refs != 1 || owner.load(std::memory_order_relaxed) != thread ||
      (now != GreenletState::dead && now != GreenletState::pending) ||
      foreign_refs.load(std::memory_order_acquire) != 0 ||
      weak.load(std::memory_order_acquire) != nullptr || parent == nullptr ||
      parent->owner.load(std::memory_order_relaxed) != thread || parent->refs < 2)
    return false;
  --parent->refs;
  --thread->live_objects;
  GreenletThread::unlink(this);
  return true;
}

// Drops a reference. Returns the parent whose reference is to be given up next, or null.
GreenletObject* GreenletThread::drop(GreenletObject* object) noexcept {
  --object->refs;
  if (!object->unreferenced() || object->state == GreenletState::current) return nullptr;
  if (object->state == GreenletState::suspended) {
    // A waiting greenlet is continued by its scheduler until it has ended.
    if (object->is_main || object->unkillable || object->waiting) return nullptr;
    unwind(object);
    if (object->state != GreenletState::dead || !object->unreferenced()) return nullptr;
  }
  if (WeakBlock* weak = object->weak.load(std::memory_order_acquire)) {
    const std::lock_guard lock(weak->mutex);
    if (!object->unreferenced()) return nullptr;  // a weak handle on another thread was faster
    weak->target = nullptr;
  }
  --live_objects;
  unlink(object);
  return free_object(object);
}

namespace {

// The body of a pending greenlet may hold the last reference to another one.
struct GreenletEnd {
  static GreenletObject*& next(GreenletObject& object) noexcept { return object.links.next; }
  static void destroy(GreenletObject& object) noexcept { object.dispose(); }
};
constexpr std::size_t kTrashSlot = 0;  // see core::Nesting
constinit thread_local core::Trashcan<GreenletObject, GreenletEnd, kTrashSlot> trashcan;

}  // namespace

GreenletObject* GreenletThread::free_object(GreenletObject* object) noexcept {
  if (WeakBlock* weak = object->weak.load(std::memory_order_relaxed)) {
    if (weak->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete weak;
  }
  GreenletObject* parent = std::exchange(object->parent, nullptr);
  trashcan.end(*object);
  return parent;
}

// --- the list of live greenlets -----------------------------------------------------------------

void GreenletThread::link(GreenletObject* object) noexcept {
  if (object->listed) return;
  object->listed = true;
  live.prepend(*object);
}

void GreenletThread::unlink(GreenletObject* object) noexcept {
  if (!object->listed) return;
  object->listed = false;
  object->owner.load(std::memory_order_relaxed)->live.remove(*object);
}

// --- switching ----------------------------------------------------------------------------------

GreenletThread::GreenletThread(core::ThreadState& state)
    : thread(state), current(nullptr), inbox_(new Inbox) {
  main = new MainGreenlet(*this);
  current = main;
}

GreenletThread::~GreenletThread() = default;

long GreenletThread::object_count() noexcept {
  const std::lock_guard lock(inbox_->mutex);
  return live_objects - inbox_->moved_away;
}

const char* GreenletThread::running_name() const noexcept {
  return current->name != nullptr ? current->name->c_str() : nullptr;
}

void GreenletThread::check_thread(GreenletObject* target) {
  GreenletThread* owner = target->owner.load(std::memory_order_relaxed);
  if (owner == this) return;
  const std::lock_guard lock(owner->inbox_->mutex);
  if (owner->inbox_->closed)
    throw greenlet::error("cannot switch to a greenlet whose thread has exited: " +
                          repr(target->borrowed()));
  throw greenlet::error(
      "cannot switch to a greenlet of another thread: " + repr(target->borrowed()) +
      " belongs to the thread of " + repr(owner->main->borrowed()) + ", this is the thread of " +
      repr(main->borrowed()) +
      "; hand the value over in a way that is made for threads, such as a queue, instead");
}

void GreenletThread::call_trace(const char* event, GreenletObject* origin, GreenletObject* target) {
  const core::Ref<TraceCallback> callback = trace;
  try {
    callback->call(event, greenlet(origin), greenlet(target));
  } catch (...) {
    trace = nullptr;
    throw;
  }
}

value GreenletThread::receive_slow() {
  GreenletObject* from = origin_;
  GreenletObject* self = current;
  value result = std::move(mail_.result);
  std::exception_ptr error = std::exchange(mail_.error, nullptr);
  if (trace != nullptr) {
    // Keeps the origin until the tracer has seen it.
    ++from->refs;
    try {
      call_trace(error ? "throw" : "switch", from, self);
    } catch (const detail::forced_unwind&) {
      release(from);
      throw;
    } catch (...) {
      error = std::current_exception();
    }
    release(from);
  } else if (from != self && from->unreferenced()) {
    ++from->refs;
    release(from);
  }
  if (error) std::rethrow_exception(std::exchange(error, nullptr));
  return result;
}

// Returns the greenlet that takes the outcome of `from`, which is dead or ending: its first
// ancestor that lives. A pending ancestor is started with the outcome. A waiting ancestor cannot
// take it; then the scheduler's heir does, if there is one.
GreenletThread::Route GreenletThread::route(GreenletObject* from, Outcome& outcome) {
  for (GreenletObject* at = from->parent;;) {
    if (at == nullptr || at->owner.load(std::memory_order_relaxed) != this) return {main, false};
    if (at->state == GreenletState::dead || at->waiting) {
      if (at->waiting && scheduler != nullptr)
        if (GreenletObject* instead = scheduler->heir()) return {instead, false};
      at = at->parent;
    } else if (at->state != GreenletState::pending) {
      return {at, false};
    } else if (at->run != nullptr) {
      return {at, true};
    } else {
      const bool runs_code = !outcome.result.empty();
      outcome.error = no_body("started");
      outcome.result.reset();
      at = runs_code ? from->parent : at->parent;  // a destructor may have changed the chain
    }
  }
}

// Inline, as the switch is: the fewer functions return after a switch, the better.
FIBER_INLINE value GreenletThread::start(GreenletObject* target, core::Stack* stack) {
  GreenletObject* from = current;
  target->stack = stack;
  target->started = true;
  link(target);
  target->state = GreenletState::current;
  from->state = GreenletState::suspended;
  origin_ = from;
  current = target;
  core::start_context(thread, from->context, stack, &GreenletThread::entry, target);
  return receive();
}

// Delivers an outcome. A pending greenlet that starts with an exception dies of it before its body.
value GreenletThread::deliver(Route to, Outcome outcome) {
  if (to.target == current) {
    mail_ = std::move(outcome);
    origin_ = current;
    return receive();
  }
  if (to.start) {
    core::Stack* stack = thread.pool.allocate(to.target->stack_shape);
    mail_ = std::move(outcome);
    return start(to.target, stack);
  }
  mail_ = std::move(outcome);
  leave_for(to.target);
  return receive();
}

value GreenletThread::switch_slow(GreenletObject* target, value arguments) {
  if (target->owner.load(std::memory_order_relaxed) == this &&
      target->state == GreenletState::pending && target->run != nullptr &&
      !has_returned_.load(std::memory_order_relaxed)) [[likely]] {
    core::Stack* stack = thread.pool.allocate(target->stack_shape);
    mail_.result = std::move(arguments);
    return start(target, stack);
  }
  // Handles that other threads give back may include the last one of `target`: keep it.
  const greenlet keep = has_returned_.load(std::memory_order_relaxed) ? greenlet(target) : nullptr;
  drain_inbox();
  check_thread(target);
  if (target->waiting) refuse_waiting(target, &Scheduler::not_to_be_switched_to);
  return deliver_to(target, {std::move(arguments), nullptr}, "started");
}

value GreenletThread::throw_into(GreenletObject* target, std::exception_ptr error) {
  if (error == nullptr) throw ValueError("throw_ was given a null exception pointer");
  const greenlet keep = has_returned_.load(std::memory_order_relaxed) ? greenlet(target) : nullptr;
  drain_inbox();
  check_thread(target);
  if (target->waiting) refuse_waiting(target, &Scheduler::not_to_be_thrown_into);
  Outcome outcome{{}, std::move(error)};
  if (target->state == GreenletState::dead && is_exception<GreenletExit>(outcome.error))
    outcome.result = value(Exited{std::exchange(outcome.error, nullptr)});
  return deliver_to(target, std::move(outcome), "thrown into");
}

value GreenletThread::deliver_to(GreenletObject* target, Outcome outcome, const char* what) {
  switch (target->state) {
    case GreenletState::pending:
      if (target->run == nullptr) std::rethrow_exception(no_body(what));
      return deliver({target, true}, std::move(outcome));
    case GreenletState::dead: {
      const Route to = route(target, outcome);
      if (to.target->waiting) refuse_waiting(to.target, &Scheduler::not_to_be_switched_to);
      return deliver(to, std::move(outcome));
    }
    case GreenletState::suspended:
    case GreenletState::current: break;
  }
  return deliver({target, false}, std::move(outcome));
}

void GreenletThread::entry(void* object) {
  auto* self = static_cast<GreenletObject*>(object);
  GreenletThread* home = self->owner.load(std::memory_order_relaxed);
  while (true) {
    Outcome outcome;
    try {
      outcome.result = self->run->call(home->receive());
    } catch (const detail::forced_unwind&) {
      throw;  // the thread is being cancelled
    } catch (const GreenletExit&) {
      outcome.result = value(Exited{std::current_exception()});
    } catch (...) {
      outcome.error = std::current_exception();
    }
    self = home->finish(self, std::move(outcome));
  }
}

// Prefetches the memory that ending the next greenlets will touch: the object first, then the
// memory to which it points. Many greenlets often end in the order in which they started, and their
// memory may be cold by then.
FIBER_INLINE void GreenletThread::fetch_ahead(const GreenletObject* ended) const noexcept {
  constexpr long kMany = 1024;  // fewer are in the processor's caches anyway
  if (live_objects < kMany) return;
  const GreenletObject* at = ended;
  for (int distance = 0; distance < 2; ++distance)
    if ((at = at->links.previous) == nullptr) return;
  if (const auto* frames = static_cast<const std::byte*>(at->context.sp)) {
    __builtin_prefetch(at->run.get());
    for (std::size_t line = 0; line < 4; ++line)
      __builtin_prefetch(frames + line * core::kCacheLine);
  }
  for (int distance = 0; distance < 2; ++distance)
    if ((at = at->links.previous) == nullptr) return;
  const auto* object = reinterpret_cast<const std::byte*>(at);
  for (std::size_t line = 0; line < sizeof(GreenletObject) / core::kCacheLine; ++line)
    __builtin_prefetch(object + line * core::kCacheLine);
}

// Hands the outcome over and leaves for good. Returns only to run a pending parent on this stack:
// returns that parent.
GreenletObject* GreenletThread::finish(GreenletObject* ended, Outcome outcome) {
  ended->run.reset();  // still current: its destructor may switch
  Route to = route(ended, outcome);
  core::Stack* stack = std::exchange(ended->stack, nullptr);
  core::Stack* fresh = nullptr;
  while (to.start && !stack->shape.fits(to.target->stack_shape)) {
    try {
      fresh = thread.pool.allocate(to.target->stack_shape);
      break;
    } catch (...) {
      outcome.result.reset();
      outcome.error = std::current_exception();
      to = route(to.target, outcome);
    }
  }
  ended->state = GreenletState::dead;
  fetch_ahead(ended);
  unlink(ended);
  if (std::exchange(ended->unkillable, false)) --ended->refs;
  if (to.target->waiting) [[unlikely]] {
    // All ancestors wait for their scheduler, which goes on without an outcome.
    if (outcome.error) unraisable(outcome.error, "Exception ignored in", ended);
    outcome = Outcome();
  }
  mail_ = std::move(outcome);
  origin_ = ended;
  current = to.target;
  to.target->state = GreenletState::current;
  if (!to.start) core::exit_context(to.target->context);
  to.target->started = true;
  link(to.target);
  to.target->stack = fresh != nullptr ? fresh : stack;
  if (fresh != nullptr) core::exit_to_start(fresh, &GreenletThread::entry, to.target);
  return to.target;
}

// Throws GreenletExit into a suspended greenlet whose last reference was given up. Meanwhile the
// current greenlet is its parent, so control comes back here however the greenlet ends.
void GreenletThread::unwind(GreenletObject* object) noexcept {
  ++object->refs;
  GreenletObject* dropper = current;
  GreenletObject* parent = object->parent;
  ++dropper->refs;
  object->parent = dropper;
  const bool was_waiting = std::exchange(object->waiting, false);
  try {
    // A waiting greenlet was told by its scheduler, and expects no exception here.
    deliver({object, false},
            was_waiting
                ? Outcome()
                : Outcome{{}, std::make_exception_ptr(GreenletExit(last_reference_dropped()))});
  } catch (...) {
    unraisable(std::current_exception(), "Exception ignored in", object);
  }
  // User code may have made the greenlet an ancestor of its former parent; then the dropper stays
  // its parent.
  if (object->parent == dropper && (object->references() == 1 || !descends(parent, object))) {
    object->parent = parent;
    release(dropper);
  } else if (parent != nullptr) {
    release(parent);
  }
  if (object->state != GreenletState::dead) object->waiting = was_waiting && object->waiting;
  if (object->state == GreenletState::suspended && object->references() == 1) {
    // Unwinding the greenlet again and again might never end: it stays in the list of live ones.
    object->unkillable = true;
    unraisable(nullptr, "GreenletExit did not end", object);
    return;
  }
  --object->refs;
}

}  // namespace fiber::detail
