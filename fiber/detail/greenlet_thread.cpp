#include <fiber/greenlet.hpp>

#include <exception>

#include <cxxabi.h>

namespace fiber::detail {
namespace {

GreenletThread* own_thread() noexcept {
  core::ThreadState* thread = core::tls_thread_state;
  return thread != nullptr ? static_cast<GreenletThread*>(thread->greenlets) : nullptr;
}

class MainGreenlet final : public GreenletObject {
 public:
  explicit MainGreenlet(GreenletThread& thread) : GreenletObject(thread) {
    state = GreenletState::current;
    started = true;
    is_main = true;
    refs = 1;  // the thread's own
  }
};

bool is_exit(const std::exception_ptr& error) noexcept {
  try {
    std::rethrow_exception(error);
  } catch (const GreenletExit&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

GreenletThread& make_greenlet_thread(core::ThreadState& thread) {
  auto* created = new GreenletThread(thread);
  thread.greenlets = created;
  return *created;
}

GreenletObject::GreenletObject(GreenletThread& thread) : owner(&thread) {
  static_assert(sizeof(greenlet) == sizeof(borrowed_));
  new (borrowed_) greenlet(greenlet::borrow{}, this);
  thread.link(this);
}

GreenletObject::~GreenletObject() {
  if (context_variables != nullptr) contextvars::detail::release(context_variables);
}

// --- references ---------------------------------------------------------------------------------

void retain(GreenletObject* object) noexcept {
  if (object->owner.load(std::memory_order_relaxed) == own_thread())
    ++object->refs;
  else
    object->foreign_refs.fetch_add(1, std::memory_order_relaxed);
}

void release(GreenletObject* object) noexcept {
  // A loop, since the last reference to a child may be what keeps its parent: chains of a million.
  while (object != nullptr) {
    GreenletThread* owner = object->owner.load(std::memory_order_relaxed);
    object = owner == own_thread() ? owner->drop(object)
                                   : GreenletThread::drop_foreign(object, owner);
  }
}

// Each drop returns the parent whose reference is to be given up next, if any.
GreenletObject* GreenletThread::drop(GreenletObject* object) noexcept {
  --object->refs;
  if (!object->unreferenced() || object->state == GreenletState::current) return nullptr;
  if (object->state == GreenletState::suspended) {
    if (object->is_main || object->unkillable) return nullptr;
    unwind(object);
    if (object->state != GreenletState::dead || !object->unreferenced()) return nullptr;
  }
  if (WeakBlock* weak = object->weak.load(std::memory_order_acquire)) {
    const std::lock_guard lock(weak->mutex);
    if (!object->unreferenced()) return nullptr;  // a weak handle on another thread was faster
    weak->target = nullptr;
  }
  --live_objects;
  return free_object(object);
}

GreenletObject* GreenletThread::free_object(GreenletObject* object) noexcept {
  unlink(object);
  if (WeakBlock* weak = object->weak.load(std::memory_order_relaxed)) {
    if (weak->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete weak;
  }
  GreenletObject* parent = std::exchange(object->parent, nullptr);
  object->dispose();
  return parent;
}

GreenletObject* GreenletThread::drop_foreign(GreenletObject* object,
                                             GreenletThread* owner) noexcept {
  std::unique_lock lock(owner->inbox_mutex_);
  if (!owner->closed_) {
    if (object->returned++ == 0) {
      object->next_returned = owner->inbox_;
      owner->inbox_ = object;
    }
    owner->has_returned_.store(true, std::memory_order_release);
    return nullptr;
  }
  --object->refs;
  if (!object->unreferenced()) return nullptr;
  if (WeakBlock* weak = object->weak.load(std::memory_order_acquire)) {
    const std::lock_guard weak_lock(weak->mutex);
    if (!object->unreferenced()) return nullptr;
    weak->target = nullptr;
  }
  const bool last = --owner->live_objects - owner->moved_away_.load() == 0;
  GreenletObject* parent = free_object(object);
  lock.unlock();
  if (last) delete owner;
  return parent;
}

void GreenletThread::drain_inbox_slow() noexcept {
  for (;;) {
    GreenletObject* object = nullptr;
    std::uint32_t count = 0;
    {
      const std::lock_guard lock(inbox_mutex_);
      object = inbox_;
      if (object == nullptr) {
        has_returned_.store(false, std::memory_order_relaxed);
        return;
      }
      inbox_ = object->next_returned;
      count = std::exchange(object->returned, 0U);
    }
    object->refs -= count - 1;
    release(object);
  }
}

// --- the list of live greenlets -----------------------------------------------------------------

void GreenletThread::link(GreenletObject* object) noexcept {
  object->previous_live = nullptr;
  object->next_live = live_head;
  if (live_head != nullptr) live_head->previous_live = object;
  live_head = object;
  ++live_objects;
}

void GreenletThread::unlink(GreenletObject* object) noexcept {
  if (object->next_live != nullptr) object->next_live->previous_live = object->previous_live;
  if (object->previous_live != nullptr)
    object->previous_live->next_live = object->next_live;
  else if (auto* owner = object->owner.load(std::memory_order_relaxed);
           owner != nullptr && owner->live_head == object)
    owner->live_head = object->next_live;
  object->next_live = nullptr;
  object->previous_live = nullptr;
}

// --- switching ----------------------------------------------------------------------------------

GreenletThread::GreenletThread(core::ThreadState& state) : thread(state), current(nullptr) {
  main = new MainGreenlet(*this);
  current = main;
}

GreenletThread::~GreenletThread() = default;

const char* GreenletThread::running_name() const noexcept {
  return current->name != nullptr ? current->name->c_str() : nullptr;
}

void GreenletThread::check_thread(GreenletObject* target) {
  GreenletThread* owner = target->owner.load(std::memory_order_relaxed);
  if (owner == this) return;
  if (target->state == GreenletState::pending) {
    // A pending greenlet belongs to where its parents belong, until it starts.
    GreenletObject* ancestor = target->parent;
    while (ancestor != nullptr && ancestor->state == GreenletState::pending &&
           ancestor->owner.load(std::memory_order_relaxed) == owner)
      ancestor = ancestor->parent;
    if (ancestor != nullptr && ancestor->owner.load(std::memory_order_relaxed) == this) {
      unlink(target);
      owner->moved_away_.fetch_add(1);
      target->owner.store(this);
      link(target);
      return;
    }
  }
  const std::lock_guard lock(owner->inbox_mutex_);
  if (owner->closed_)
    throw greenlet::error("cannot switch to a greenlet whose thread has exited");
  throw greenlet::error(
      "cannot switch to a greenlet of another thread: " + target->display_name() +
      " belongs to the thread of main greenlet " + std::to_string(reinterpret_cast<std::uintptr_t>(
                                                       owner->main)) +
      ", this is the thread of " + std::to_string(reinterpret_cast<std::uintptr_t>(main)) +
      "; hand the value over with loop.call_soon_threadsafe or a queue instead");
}

void GreenletThread::call_trace(const char* event, GreenletObject* origin,
                                GreenletObject* target) {
  const std::shared_ptr<trace_function> callback = trace;
  try {
    (*callback)(event, greenlet(origin), greenlet(target));
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
    // The one left behind is kept until the tracer has seen it.
    ++from->refs;
    try {
      call_trace(error ? "throw" : "switch", from, self);
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

// Whom an outcome goes to, starting at `from`: the first that lives, up the parents. Pending ones
// take a value as their argument; an exception ends them before they run.
GreenletThread::Route GreenletThread::route(GreenletObject* from, GreenletObject*& origin,
                                            Outcome& outcome) {
  for (GreenletObject* at = from;; at = at->parent) {
    if (at == nullptr || at->owner.load(std::memory_order_relaxed) != this) return {main, false};
    if (at->state == GreenletState::dead || at->waiting) continue;
    if (at->state != GreenletState::pending) return {at, false};
    if (outcome.error) {
      end_unstarted(at, origin, outcome);
    } else if (at->run == nullptr) {
      outcome.result.reset();
      outcome.error = std::make_exception_ptr(
          AttributeError("a greenlet without a body (run) cannot be started"));
    } else {
      return {at, true};
    }
  }
}

// A pending greenlet that is thrown into dies without running.
void GreenletThread::end_unstarted(GreenletObject* object, GreenletObject*& origin,
                                   Outcome& outcome) {
  ++object->refs;
  object->started = true;
  object->state = GreenletState::dead;
  if (trace != nullptr) {
    GreenletObject* caller = std::exchange(current, object);
    try {
      call_trace("throw", origin, object);
    } catch (...) {
      outcome.error = std::current_exception();
    }
    current = caller;
  }
  std::unique_ptr<Run> unused = std::move(object->run);
  unused.reset();
  origin = object;
  if (outcome.error && is_exit(outcome.error))
    outcome.result = value(Exited{std::exchange(outcome.error, nullptr)});
  --object->refs;
}

value GreenletThread::deliver(Route to, GreenletObject* origin, Outcome outcome) {
  if (to.start) {
    core::Stack* stack = thread.pool.allocate(to.target->stack_size);
    GreenletObject* from = current;
    GreenletObject* target = to.target;
    target->stack = stack;
    target->started = true;
    target->state = GreenletState::current;
    from->state = GreenletState::suspended;
    mail_.result = std::move(outcome.result);
    origin_ = origin;
    current = target;
    core::start_context(from->context, stack, &GreenletThread::entry, target);
    return receive();
  }
  mail_.result = std::move(outcome.result);
  mail_.error = std::move(outcome.error);
  if (to.target == current) {
    origin_ = origin;
    return receive();
  }
  leave_for(to.target);
  return receive();
}

value GreenletThread::switch_slow(GreenletObject* target, value arguments) {
  drain_inbox();
  check_thread(target);
  if (target->waiting)
    throw RuntimeError("greenlet '" + target->display_name() +
                       "' is suspended in an await: only its event loop may continue it; complete "
                       "what it waits for, or cancel its task");
  Outcome outcome{std::move(arguments), nullptr};
  GreenletObject* origin = current;
  if (target->state == GreenletState::pending) {
    if (target->run == nullptr)
      throw AttributeError("a greenlet without a body (run) cannot be started");
    return deliver({target, true}, origin, std::move(outcome));
  }
  const Route to = route(target, origin, outcome);
  return deliver(to, origin, std::move(outcome));
}

value GreenletThread::throw_into(GreenletObject* target, std::exception_ptr error) {
  if (error == nullptr) throw ValueError("throw_ was given a null exception pointer");
  drain_inbox();
  check_thread(target);
  if (target->waiting)
    throw RuntimeError("greenlet '" + target->display_name() +
                       "' is suspended in an await: cancel its task instead of throwing into it");
  Outcome outcome{{}, std::move(error)};
  GreenletObject* origin = current;
  switch (target->state) {
    case GreenletState::current:
    case GreenletState::suspended:
      return deliver({target, false}, origin, std::move(outcome));
    case GreenletState::pending: {
      if (target->run == nullptr)
        throw AttributeError("a greenlet without a body (run) cannot be thrown into");
      end_unstarted(target, origin, outcome);
      const Route to = route(target->parent, origin, outcome);
      return deliver(to, origin, std::move(outcome));
    }
    case GreenletState::dead: break;
  }
  if (is_exit(outcome.error))
    outcome.result = value(Exited{std::exchange(outcome.error, nullptr)});
  const Route to = route(target, origin, outcome);
  return deliver(to, origin, std::move(outcome));
}

void GreenletThread::entry(void* object) {
  auto* self = static_cast<GreenletObject*>(object);
  GreenletThread* home = self->owner.load(std::memory_order_relaxed);
  while (true) {
    Outcome outcome;
    try {
      outcome.result = self->run->call(home->receive());
    } catch (const abi::__forced_unwind&) {
      throw;  // the thread is being cancelled
    } catch (const GreenletExit&) {
      outcome.result = value(Exited{std::current_exception()});
    } catch (...) {
      outcome.error = std::current_exception();
    }
    self = home->finish(self, std::move(outcome));
  }
}

// Hands the outcome over and leaves for good, unless a pending parent is to run: it takes over the
// stack, and is returned.
GreenletObject* GreenletThread::finish(GreenletObject* ended, Outcome outcome) {
  ended->run.reset();  // still current: its destructor may switch
  GreenletObject* origin = ended;
  ++ended->refs;       // the route may run code
  Route to = route(ended->parent, origin, outcome);
  core::Stack* stack = std::exchange(ended->stack, nullptr);
  core::Stack* fresh = nullptr;
  while (to.start && to.target->stack_size > stack->size) {
    try {
      fresh = thread.pool.allocate(to.target->stack_size);
      break;
    } catch (...) {
      outcome.error = std::current_exception();
      to = route(to.target->parent, origin, outcome);
    }
  }
  ended->state = GreenletState::dead;
  --ended->refs;
  mail_.result = std::move(outcome.result);
  mail_.error = std::exchange(outcome.error, nullptr);
  origin_ = origin;
  current = to.target;
  to.target->state = GreenletState::current;
  if (!to.start) core::exit_context(to.target->context);
  to.target->started = true;
  to.target->stack = fresh != nullptr ? fresh : stack;
  if (fresh != nullptr) core::exit_to_start(fresh, &GreenletThread::entry, to.target);
  return to.target;
}

// Throws GreenletExit into a suspended greenlet on behalf of whoever gave up the last reference.
// While it lasts the current greenlet is its parent, so control comes back here however it ends.
void GreenletThread::unwind(GreenletObject* object) noexcept {
  ++object->refs;
  GreenletObject* dropper = current;
  GreenletObject* parent = object->parent;
  ++dropper->refs;
  object->parent = dropper;
  const bool was_waiting = std::exchange(object->waiting, false);
  try {
    deliver({object, false}, dropper,
            {{}, std::make_exception_ptr(GreenletExit("the last reference was dropped"))});
  } catch (...) {
    unraisable(std::current_exception(), "Exception ignored in", object);
  }
  if (object->parent == dropper) {
    object->parent = parent;
    release(dropper);
  } else if (parent != nullptr) {
    release(parent);
  }
  if (object->state != GreenletState::dead) object->waiting = was_waiting && object->waiting;
  if (object->state == GreenletState::suspended && object->refs == 1 &&
      object->foreign_refs.load(std::memory_order_acquire) == 0) {
    // Unwinding it again and again might never end: it stays in the list of live greenlets.
    object->unkillable = true;
    unraisable(nullptr, "GreenletExit did not end", object);
    return;
  }
  --object->refs;
}

void GreenletThread::set_parent(GreenletObject* object, GreenletObject* parent) {
  if (parent == nullptr) throw TypeError("the parent of a greenlet must be a greenlet, not null");
  if (object->is_main) throw AttributeError("the parent of a main greenlet cannot be set");
  GreenletObject* root = parent;
  for (GreenletObject* at = parent; at != nullptr; at = at->parent) {
    if (at == object) throw ValueError("cyclic parent chain");
    root = at;
  }
  GreenletThread* owner = root->owner.load(std::memory_order_relaxed);
  if (object->started && owner != object->owner.load(std::memory_order_relaxed))
    throw ValueError("parent cannot be on a different thread");
  GreenletObject* previous = object->parent;
  retain(parent);
  object->parent = parent;
  if (previous != nullptr) release(previous);
}

void GreenletThread::thread_exits() noexcept {
  drain_inbox();
  // Newest first, as a stack unwinds. Taken out one by one: unwinding runs any code.
  GreenletObject* kept = nullptr;
  while (live_head != nullptr) {
    GreenletObject* object = live_head;
    unlink(object);
    ++object->refs;
    if (object->state == GreenletState::suspended && !object->is_main && !object->unkillable) {
      unwind(object);
      if (object->state == GreenletState::suspended && !object->unkillable) {
        object->unkillable = true;
        unraisable(nullptr, "GreenletExit did not end", object);
      }
    }
    object->next_live = kept;
    kept = object;
  }
  while (kept != nullptr) {
    GreenletObject* object = kept;
    kept = object->next_live;
    object->next_live = nullptr;
    release(object);
  }
  trace = nullptr;
  drain_inbox();
  if (current == main) {
    main->state = GreenletState::dead;
    release(main);
  }
  bool last = false;
  {
    const std::lock_guard lock(inbox_mutex_);
    for (GreenletObject* object = inbox_; object != nullptr;) {
      // A last moment's return: nobody is left to see the sum reach zero but those who hold more.
      GreenletObject* next = object->next_returned;
      object->refs -= std::exchange(object->returned, 0U);
      object = next;
    }
    inbox_ = nullptr;
    closed_ = true;
    last = live_objects - moved_away_.load() == 0;
  }
  thread.greenlets = nullptr;
  if (last) delete this;
}

}  // namespace fiber::detail
