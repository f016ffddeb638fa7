#include <fiber/generator.hpp>

#include <fiber/core/overflow.hpp>
#include <fiber/core/own_thread.hpp>
#include <fiber/core/trashcan.hpp>
#include <fiber/cxxabi.hpp>
#include <fiber/greenlet.hpp>

#include <exception>
#include <utility>

namespace fiber::detail {
namespace {

struct Generators {
  core::List<GeneratorObject> started;  // newest first
  const GeneratorHooks* hooks = nullptr;
};
constinit thread_local core::PerThread<Generators> tls_generators;

// Generators may own one another by their captures.
struct GeneratorEnd {
  static GeneratorObject*& next(GeneratorObject& object) noexcept { return object.links.next; }
  static void destroy(GeneratorObject& object) noexcept { delete &object; }
};
constexpr std::size_t kTrashSlot = 1;  // see core::Nesting
constinit thread_local core::Trashcan<GeneratorObject, GeneratorEnd, kTrashSlot> trashcan;

core::Part generator_on(const core::Stack* stack) noexcept {
  for (const GeneratorObject& each : tls_generators->started)
    if (each.stack == stack) return {"generator", each.name != nullptr ? each.name->c_str() : ""};
  return {};
}

// The exception that replaces a StopIteration escaping from a body; users see its name.
namespace pep479 {
class RuntimeError : public fiber::RuntimeError, public std::nested_exception {
 public:
  RuntimeError() : fiber::RuntimeError("generator raised StopIteration") {}
};
}  // namespace pep479

}  // namespace

// Closes the generators that the thread leaves suspended.
struct GeneratorThreadExit {
  GeneratorThreadExit() noexcept { core::tls_part_on = generator_on; }
  ~GeneratorThreadExit() {
    GeneratorObject* object = tls_generators->started.first();
    while (object != nullptr) {
      if (object->abandoned || object->executing()) {
        object = object->links.next;
        continue;
      }
      ++object->refs;
      object->close_unwanted();
      object->abandoned = object->phase != GeneratorObject::Phase::closed;
      object->release();
      object = tls_generators->started.first();
    }
  }
};

namespace {

void close_at_thread_exit() {
  static thread_local GeneratorThreadExit thread_exit;
  static_cast<void>(thread_exit);
}

const core::PerThreadUse tls_generators_use([]() -> core::PerThreadBase& { return tls_generators; },
                                            close_at_thread_exit);

}  // namespace

void set_generator_hooks(const GeneratorHooks* hooks) noexcept { tls_generators->hooks = hooks; }

// A request of a consumer: for the next item, unless a value is sent or an exception thrown.
struct GeneratorObject::Request {
  void* sent = nullptr;
  std::exception_ptr thrown = nullptr;
  bool close = false;
};

const core::List<GeneratorObject>& GeneratorObject::all_started() noexcept {
  return tls_generators->started;
}

GeneratorObject::GeneratorObject()
    : thread(&core::thread_state()), stack_shape(thread->pool.default_shape()) {}
GeneratorObject::~GeneratorObject() = default;

// --- chains -------------------------------------------------------------------------------------

GeneratorObject* GeneratorObject::leaf() noexcept {
  GeneratorObject* at = this;
  while (at->delegate != nullptr) at = at->delegate;
  return at;
}

bool GeneratorObject::running(const GeneratorObject* leaf) noexcept {
  return leaf->root != nullptr && leaf->root->ready == kNotReady;
}

// Returns the generator where two chains that end in one leaf become one.
GeneratorObject* GeneratorObject::meeting(GeneratorObject* a, GeneratorObject* b) noexcept {
  const auto length = [](const GeneratorObject* at) {
    long count = 0;
    for (; at != nullptr; at = at->delegate) ++count;
    return count;
  };
  long surplus = length(a) - length(b);
  for (; surplus > 0; --surplus) a = a->delegate;
  for (; surplus < 0; ++surplus) b = b->delegate;
  for (; a != b; a = a->delegate) b = b->delegate;
  return a;
}

// Returns whether the generator's own frames run, or wait for its delegate.
bool GeneratorObject::executing() const noexcept {
  auto* self = const_cast<GeneratorObject*>(this);
  const GeneratorObject* last = self->leaf();
  return running(last) && meeting(self, last->root) == self;
}

void GeneratorObject::pair_with(GeneratorObject* leaf) noexcept {
  if (active != nullptr) active->root = nullptr;
  if (leaf->root != nullptr) {
    leaf->root->active = nullptr;
    leaf->root->ready = kNotReady;
  }
  leaf->root = this;
  active = leaf;
}

// Finds the generator to continue for a request to this one, and pairs it with `top`. It is the
// leaf, unless a delegate that other consumers ran meanwhile has ended or is executing: then the
// delegator goes on, with the outcome of a request to that delegate.
GeneratorObject::Claim GeneratorObject::claim(GeneratorObject* top,
                                              const std::exception_ptr& thrown) {
  const GeneratorObject* last = leaf();
  const GeneratorObject* executing = nullptr;
  if (running(last)) {
    executing = meeting(this, last->root);
    if (executing == this) throw ValueError("generator already executing");
  }
  bool at_yield = true;
  GeneratorObject* at = this;
  for (; at->delegate != nullptr; at = at->delegate) {
    if (at->delegate == executing) {
      at->inner_error = std::make_exception_ptr(ValueError("generator already executing"));
      at_yield = false;
    } else if (at->delegate->phase == Phase::closed) {
      at->inner_error = thrown;
      at_yield = false;
    }
    if (!at_yield) {
      at->delegate = nullptr;
      break;
    }
    at->delegate->delegator = at;
  }
  top->pair_with(at);
  return {at, at_yield};
}

// --- the consumer's side ------------------------------------------------------------------------

bool GeneratorObject::advance_slow(void* value) { return ask({.sent = value}); }

bool GeneratorObject::throw_in(std::exception_ptr exception) {
  if (exception == nullptr) throw ValueError("throw_ was given a null exception pointer");
  return ask({.thrown = std::move(exception)});
}

void GeneratorObject::close() {
  if (phase == Phase::closed) return;
  if (ask({.thrown = std::make_exception_ptr(GeneratorExit()), .close = true}))
    throw RuntimeError("generator ignored GeneratorExit");
}

bool GeneratorObject::ask(Request request) {
  core::ThreadState& state = core::thread_state();
  if (&state != thread)
    throw RuntimeError("a generator was used on another thread than the one that made it");
  if (phase == Phase::created && request.thrown != nullptr) end_unstarted();
  if (phase == Phase::closed) {
    if (request.thrown != nullptr && !request.close) std::rethrow_exception(request.thrown);
    return false;
  }
  if (phase == Phase::created) {
    if (request.sent != nullptr)
      throw TypeError("can't send non-None value to a just-started generator");
    prepare_start();
    pair_with(this);
    core::start_context(state, caller, stack, &GeneratorObject::entry, this);
  } else {
    const auto [last, at_yield] = claim(this, request.thrown);
    ready = kNotReady;
    if (last != this && (request.close || is_generator_exit(request.thrown))) {
      // This generator gets the exception once its delegates are closed.
      std::exception_ptr exit =
          std::exchange(request.thrown, std::make_exception_ptr(GeneratorExit()));
      if (!at_yield && last->inner_error == exit) last->inner_error = request.thrown;
      for (GeneratorObject* at = this; at != last; at = at->delegate) {
        at->pending_exit = std::exchange(exit, request.thrown);
        at->delegate->closing = true;
        at->delegate->yieldable = nullptr;
      }
    }
    if (at_yield) {
      last->sent = request.sent;
      last->error = std::move(request.thrown);
    }
    core::switch_context(state, caller, last->context);
  }
  if (item != nullptr) {
    ready = reinterpret_cast<std::uintptr_t>(&state);
    return true;
  }
  if (request.close && exited) error = nullptr;
  return ended();
}

bool GeneratorObject::ended() {
  if (error != nullptr) raise();
  return false;
}

void GeneratorObject::raise() { std::rethrow_exception(std::exchange(error, nullptr)); }

// --- the body's side ----------------------------------------------------------------------------

void GeneratorObject::prepare_start() {
  close_at_thread_exit();
  stack = thread->pool.allocate(stack_shape);
  yieldable = stack;
  context.stack = stack;
  phase = Phase::started;
  link();
  if (tls_generators->hooks != nullptr) tls_generators->hooks->started(this);
}

void GeneratorObject::entry(void* object) {
  auto* self = static_cast<GeneratorObject*>(object);
  self->execute();
  core::exit_context(self->finish());
}

void GeneratorObject::execute() {
  try {
    run_body();
  } catch (const detail::forced_unwind&) {
    throw;  // the thread is being cancelled
  } catch (const GeneratorExit&) {
    exited = true;
    error = std::current_exception();
  } catch (const StopIteration&) {
    error = std::make_exception_ptr(pep479::RuntimeError());
  } catch (...) {
    error = std::current_exception();
  }
}

// Ends the generator; returns the context to continue.
const core::Context& GeneratorObject::finish() noexcept {
  yieldable = nullptr;
  phase = Phase::closed;
  drop_body();  // may run any code
  unlink();
  stack = nullptr;
  GeneratorObject* top = root;
  if (top == this) {
    root = nullptr;
    active = nullptr;
    item = nullptr;
    return caller;
  }
  GeneratorObject* next = std::exchange(delegator, nullptr);
  next->delegate = nullptr;
  next->inner_error = std::exchange(error, nullptr);
  next->inner_exited = exited;
  top->pair_with(next);
  return next->context;
}

void GeneratorObject::end_unstarted() noexcept {
  phase = Phase::closed;
  drop_body();
}

void GeneratorObject::hand_over_slow(void* object) {
  core::ThreadState& state = core::thread_state();
  if (phase == Phase::closed) throw RuntimeError("yield after the generator's end");
  if (state.stack != stack)
    throw RuntimeError(
        "yield outside of the generator: not in its body, or in another greenlet or thread");
  // A delegate that is being closed must not yield: its close() fails, here in its delegator.
  GeneratorObject* closed = this;
  while (closed != root && !closed->closing) closed = closed->delegator;
  if (closed == root) {
    yieldable = stack;
    hand_over(object);
    return;
  }
  GeneratorObject* top = root;
  GeneratorObject* next = closed->delegator;
  for (GeneratorObject* at = closed; at != nullptr; at = at->delegate) at->yieldable = at->stack;
  closed->closing = false;
  next->delegate = nullptr;
  next->inner_error = std::make_exception_ptr(RuntimeError("generator ignored GeneratorExit"));
  top->pair_with(next);
  core::switch_context(state, context, next->context);
}

void GeneratorObject::delegate_to(GeneratorObject* inner) {
  core::ThreadState& state = core::thread_state();
  if (phase == Phase::closed) throw RuntimeError("yield_from after the generator's end");
  if (state.stack != stack)
    throw RuntimeError(
        "yield_from outside of the generator: not in its body, or in another greenlet or thread");
  if (inner->thread != thread)
    throw RuntimeError("a generator was used on another thread than the one that made it");
  if (inner->phase == Phase::closed) return;
  GeneratorObject* top = root;
  if (inner->phase == Phase::created) {
    inner->prepare_start();
    top->pair_with(inner);
    inner->delegator = this;
    delegate = inner;
    if (yieldable == nullptr) inner->yieldable = nullptr;
    core::start_context(state, context, inner->stack, &GeneratorObject::entry, inner);
  } else {
    const auto [last, at_yield] = inner->claim(top, nullptr);
    inner->delegator = this;
    delegate = inner;
    if (yieldable == nullptr)
      for (GeneratorObject* at = inner; at != nullptr; at = at->delegate) at->yieldable = nullptr;
    if (at_yield) last->sent = nullptr;
    core::switch_context(state, context, last->context);
  }
  std::exception_ptr problem = std::exchange(inner_error, nullptr);
  std::exception_ptr exit = std::exchange(pending_exit, nullptr);
  const bool closed = std::exchange(inner_exited, false);
  if (exit != nullptr && (problem == nullptr || closed)) problem = std::move(exit);
  if (problem != nullptr) std::rethrow_exception(std::move(problem));
}

// --- lifetime -----------------------------------------------------------------------------------

// Closes and destroys the generator, which has no handles left: no consumer can ask for items, so
// it does not execute.
void GeneratorObject::unreferenced() noexcept {
  if (phase == Phase::started) {
    if (abandoned) return;
    if (scope != 0 && tls_generators->hooks != nullptr) {
      ++refs;  // given up by the code that closes it, if the hook has taken it
      const bool taken = tls_generators->hooks->dropped(this);
      if (--refs > 0 && taken) return;
    }
    ++refs;
    close_unwanted();
    if (--refs > 0) return;
    if (phase == Phase::started) {
      abandoned = true;  // closing it again and again might never end: it stays in the list
      return;
    }
  }
  destroy(this);
}

void GeneratorObject::close_unwanted() noexcept {
  try {
    if (core::tls_thread_state != thread)
      throw RuntimeError(
          "a suspended generator cannot be closed: it was dropped on another thread than its own, "
          "or after its thread's end");
    close();
  } catch (...) {
    report(std::current_exception());
  }
}

void GeneratorObject::report(std::exception_ptr problem) noexcept {
  const GreenletThread* here = greenlet_thread_of(core::tls_thread_state);
  GreenletObject* dropper = here != nullptr ? here->current : nullptr;
  unraisable(std::move(problem),
             "Exception ignored in " + repr(GeneratorBase(this)) + ", dropped in", dropper);
}

void GeneratorObject::destroy(GeneratorObject* object) noexcept { trashcan.end(*object); }

void GeneratorObject::link() noexcept { tls_generators->started.prepend(*this); }

void GeneratorObject::unlink() noexcept { tls_generators->started.remove(*this); }

}  // namespace fiber::detail
