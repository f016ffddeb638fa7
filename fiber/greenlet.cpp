#include <fiber/greenlet.hpp>
#include <fiber/exceptions/repr.hpp>
#include <fiber/greenlet/inbox.hpp>

#include <cstdio>
#include <memory>
#include <mutex>
#include <ostream>

namespace fiber {

GreenletExit::~GreenletExit() = default;
greenlet::error::~error() = default;

namespace {

struct HookSlot {
  std::mutex mutex;
  std::shared_ptr<unraisable_hook> hook;
};

HookSlot& hook_slot() {
  static auto* slot = new HookSlot;  // outlives every static object that may report
  return *slot;
}

void write_to_stderr(const UnraisableHookArgs& args) {
  std::string text = args.message;
  if (args.object != nullptr) text += ": " + repr(args.object);
  text += "\n";
  if (args.exception) text += type_name(args.exception) + ": " + str(args.exception) + "\n";
  std::fputs(text.c_str(), stderr);
}

}  // namespace

unraisable_hook set_unraisablehook(unraisable_hook hook) {
  HookSlot& slot = hook_slot();
  auto next = hook ? std::make_shared<unraisable_hook>(std::move(hook)) : nullptr;
  {
    const std::lock_guard lock(slot.mutex);
    std::swap(slot.hook, next);
  }
  const auto previous = std::move(next);  // ends without the lock: it may report
  return previous ? *previous : unraisable_hook(write_to_stderr);
}

namespace detail {

const GreenletExit& last_reference_dropped() {
  static const auto* exit = new GreenletExit("the last reference was dropped");
  return *exit;  // needed until the last thread has ended
}

void unraisable(std::exception_ptr error, std::string_view message,
                GreenletObject* object) noexcept {
  try {
    HookSlot& slot = hook_slot();
    std::shared_ptr<unraisable_hook> hook;
    {
      const std::lock_guard lock(slot.mutex);
      hook = slot.hook;
    }
    UnraisableHookArgs args{std::move(error), {}, object ? greenlet(object) : greenlet(nullptr)};
    try {
      args.message = message;
    } catch (const std::bad_alloc&) {  // the exception matters more
    }
    if (hook)
      (*hook)(args);
    else
      write_to_stderr(args);
  } catch (...) {
    std::fputs("fiber: the unraisable hook failed\n", stderr);
  }
}

void reject_arguments(const value& arguments) {
  if (arguments.empty()) return;
  throw TypeError("the body of a greenlet takes no arguments, but one of type '" +
                  arguments.type_name() + "' was sent");
}

}  // namespace detail

greenlet::greenlet() : greenlet(core::Owner<detail::Run>()) {}

greenlet::greenlet(const GreenletOptions& options)
    : greenlet(core::Owner<detail::Run>(), options) {}

greenlet::greenlet(core::Owner<detail::Run> run) {
  detail::GreenletThread& thread = detail::greenlet_thread();
  thread.drain_inbox();
  object_ = new detail::GreenletObject(thread, detail::GreenletObject::Listed::when_started);
  object_->refs = 1;
  object_->run = std::move(run);
  object_->parent = thread.current;
  ++thread.current->refs;
}

greenlet::greenlet(core::Owner<detail::Run> run, const GreenletOptions& options)
    : greenlet(std::move(run)) {
  if (options.parent.object_ != nullptr) {
    if (options.parent.object_->owner.load(std::memory_order_relaxed) !=
        object_->owner.load(std::memory_order_relaxed))
      throw ValueError("parent cannot be on a different thread");
    retain(options.parent.object_);
    release(std::exchange(object_->parent, options.parent.object_));
  }
  object_->stack_shape = object_->stack_shape.with(options.stack_size, options.guard_size);
  if (!options.name.empty()) object_->name = core::Owner(new std::string(options.name));
}

greenlet::greenlet(detail::GreenletObject* object) noexcept : object_(object) {
  if (object_ != nullptr) retain(object_);
}

greenlet::greenlet(const greenlet& other) noexcept : object_(other.object_) {
  if (object_ != nullptr) retain(object_);
}

greenlet& greenlet::operator=(const greenlet& other) noexcept {
  greenlet copy(other);
  std::swap(object_, copy.object_);
  return *this;
}

greenlet& greenlet::operator=(greenlet&& other) noexcept {
  greenlet taken(std::move(other));
  std::swap(object_, taken.object_);
  return *this;
}

greenlet::~greenlet() {
  if (object_ != nullptr) release(std::exchange(object_, nullptr));
}

void greenlet::refuse_null() {
  throw ValueError("this greenlet handle is null: it was made from nullptr, or moved from");
}

value greenlet::throw_() const { return throw_(std::make_exception_ptr(GreenletExit())); }

value greenlet::throw_(std::exception_ptr exception) const {
  return detail::greenlet_thread().throw_into(checked(), std::move(exception));
}

bool greenlet::dead() const { return checked()->state == detail::GreenletState::dead; }

greenlet::operator bool() const {
  if (object_ == nullptr) return false;
  const detail::GreenletState state = object_->state;
  return state == detail::GreenletState::suspended || state == detail::GreenletState::current;
}

const greenlet& greenlet::parent() const {
  static const greenlet none = nullptr;
  const detail::GreenletObject* parent = checked()->parent;
  return parent != nullptr ? parent->borrowed() : none;
}

void greenlet::parent(const greenlet& new_parent) const {
  detail::greenlet_thread().set_parent(checked(), new_parent.object_);
}

void greenlet::set_run(core::Owner<detail::Run> run) const {
  if (checked()->state != detail::GreenletState::pending)
    throw AttributeError("run cannot be set after a greenlet has started");
  const auto previous = std::exchange(object_->run, std::move(run));
}

std::string greenlet::name() const { return checked()->display_name(); }

void greenlet::name(std::string_view new_name) const {
  checked()->name = core::Owner(new std::string(new_name));
}

std::size_t greenlet::stack_used() const { return core::stack_used(checked()->stack); }

const greenlet& greenlet::getcurrent() { return fiber::getcurrent(); }

const greenlet& getcurrent() {
  detail::GreenletThread& thread = detail::greenlet_thread();
  thread.drain_inbox();
  return thread.current->borrowed();
}

std::vector<greenlet> all_greenlets() {
  detail::GreenletThread& thread = detail::greenlet_thread();
  thread.drain_inbox();
  std::vector<greenlet> found;
  for (detail::GreenletObject& each : thread.live)
    if (each.state != detail::GreenletState::dead) found.emplace_back(&each);
  return {std::make_move_iterator(found.rbegin()), std::make_move_iterator(found.rend())};
}

trace_function settrace(trace_function callback) {
  detail::GreenletThread& thread = detail::greenlet_thread();
  core::Ref<detail::TraceCallback> next;
  if (callback) next = core::Ref(new detail::TraceCallback(std::move(callback)));
  const auto previous = std::exchange(thread.trace, std::move(next));
  return previous ? previous->call : trace_function();
}

trace_function gettrace() {
  const auto& trace = detail::greenlet_thread().trace;
  return trace ? trace->call : trace_function();
}

void keep_mxcsr() {}

std::string repr(const greenlet& g) {
  const detail::GreenletObject* object = g.object();
  if (object == nullptr) return "<greenlet null>";
  std::string text = "<greenlet at " + detail::address_repr(object);
  if (const std::string name = object->display_name(); !name.empty())
    text += " " + detail::quoted(name);
  switch (object->state) {
    case detail::GreenletState::pending: text += " pending"; break;
    case detail::GreenletState::suspended: text += " suspended active started"; break;
    case detail::GreenletState::current: text += " current active started"; break;
    case detail::GreenletState::dead: text += " dead"; break;
  }
  if (object->is_main) text += " main";
  return text + ">";
}

std::ostream& operator<<(std::ostream& out, const greenlet& g) { return out << repr(g); }

weak_greenlet::weak_greenlet(const greenlet& g) {
  detail::GreenletObject* object = g.object();
  if (object == nullptr) return;
  detail::WeakBlock* block = object->weak.load(std::memory_order_acquire);
  if (block == nullptr) {
    auto* fresh = new detail::WeakBlock;
    fresh->target = object;
    if (object->weak.compare_exchange_strong(block, fresh, std::memory_order_acq_rel))
      block = fresh;
    else
      delete fresh;
  }
  block->refs.fetch_add(1, std::memory_order_relaxed);
  block_ = block;
}

weak_greenlet::weak_greenlet(const weak_greenlet& other) noexcept : block_(other.block_) {
  if (block_ != nullptr) block_->refs.fetch_add(1, std::memory_order_relaxed);
}

weak_greenlet::~weak_greenlet() {
  if (block_ != nullptr && block_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete block_;
}

greenlet weak_greenlet::lock() const {
  if (block_ == nullptr) return nullptr;
  const std::lock_guard lock(block_->mutex);
  return greenlet(block_->target);
}

}  // namespace fiber
