#include <fiber/contextvars.hpp>

#include <fiber/core/trashcan.hpp>
#include <fiber/exceptions/repr.hpp>

#include <cstdint>
#include <ostream>

namespace fiber::contextvars {
namespace detail {

namespace {

// A value may own a context, whose values own the next.
struct BoxEnd {
  static BoxBase*& next(BoxBase& box) noexcept { return box.next_dead; }
  static void destroy(BoxBase& box) noexcept { delete &box; }
};
constexpr std::size_t kTrashSlot = 5;  // see core::Nesting
constinit thread_local core::Trashcan<BoxBase, BoxEnd, kTrashSlot> trashcan;

}  // namespace

BoxBase::~BoxBase() = default;

void BoxBase::unreferenced() noexcept { trashcan.end(*this); }

// A persistent treap, ordered by the variables' ids: nodes never change; a change copies the path.
struct Node final : core::SharedCounted<Node> {
  Node(Ref<VarObject> v, Ref<BoxBase> b, Ref<Node> l, Ref<Node> r) noexcept
      : var(std::move(v)), box(std::move(b)), left(std::move(l)), right(std::move(r)) {}
  const Ref<VarObject> var;
  const Ref<BoxBase> box;
  const Ref<Node> left;
  const Ref<Node> right;
};

ContextObject::~ContextObject() = default;

namespace {

using Tree = Ref<Node>;

Tree node(const Ref<VarObject>& var, const Ref<BoxBase>& box, Tree left, Tree right) {
  return Tree(new Node(var, box, std::move(left), std::move(right)));
}

const Node* find(const Tree& tree, std::uint64_t id) noexcept {
  const Node* at = tree.get();
  while (at != nullptr && at->var->id != id)
    at = id < at->var->id ? at->left.get() : at->right.get();
  return at;
}

Tree with(const Tree& tree, const Ref<VarObject>& var, const Ref<BoxBase>& box) {
  if (!tree) return node(var, box, {}, {});
  const Node& at = *tree.get();
  if (var == at.var) return node(var, box, at.left, at.right);
  if (var->id < at.var->id) {
    Tree left = with(at.left, var, box);
    if (left->var->priority <= at.var->priority)
      return node(at.var, at.box, std::move(left), at.right);
    return node(left->var, left->box, left->left, node(at.var, at.box, left->right, at.right));
  }
  Tree right = with(at.right, var, box);
  if (right->var->priority <= at.var->priority)
    return node(at.var, at.box, at.left, std::move(right));
  return node(right->var, right->box, node(at.var, at.box, at.left, right->left), right->right);
}

Tree merged(const Tree& left, const Tree& right) {
  if (!left) return right;
  if (!right) return left;
  if (left->var->priority > right->var->priority)
    return node(left->var, left->box, left->left, merged(left->right, right));
  return node(right->var, right->box, merged(left, right->left), right->right);
}

Tree without(const Tree& tree, const Ref<VarObject>& var) {
  if (!tree) return {};
  const Node& at = *tree.get();
  if (var == at.var) return merged(at.left, at.right);
  if (var->id < at.var->id) return node(at.var, at.box, without(at.left, var), at.right);
  return node(at.var, at.box, at.left, without(at.right, var));
}

void collect(const Tree& tree, std::vector<ContextVarBase>& keys) {
  if (!tree) return;
  collect(tree->left, keys);
  keys.emplace_back(tree->var);
  collect(tree->right, keys);
}

std::uint64_t mixed(std::uint64_t id) noexcept {
  id += 0x9e3779b97f4a7c15U;
  id = (id ^ (id >> 30)) * 0xbf58476d1ce4e5b9U;
  id = (id ^ (id >> 27)) * 0x94d049bb133111ebU;
  return id ^ (id >> 31);
}

fiber::detail::GreenletObject& running_greenlet() {
  return *fiber::detail::greenlet_thread().current;
}

ContextObject* current_or_null() { return context_of(running_greenlet()); }

ContextObject& current() {
  if (current_or_null() == nullptr)
    exchange_context(running_greenlet(), Ref<ContextObject>(new ContextObject));
  return *current_or_null();
}

std::string describe(const char* what, const void* address) {
  return std::string("<") + what + " at " + fiber::detail::address_repr(address) + ">";
}

std::string describe(const Ref<VarObject>& var) { return repr(ContextVarBase(var)); }

}  // namespace

Ref<VarObject> make_var(std::string name, Ref<BoxBase> default_value) {
  static std::atomic<std::uint64_t> made{0};
  Ref<VarObject> var(new VarObject);
  var->name = std::move(name);
  var->default_value = std::move(default_value);
  var->id = made.fetch_add(1, std::memory_order_relaxed);
  var->priority = mixed(var->id);
  return var;
}

void refuse_moved_var() { throw ValueError("this ContextVar was moved from"); }
void refuse_moved_token() { throw ValueError("this Token was moved from"); }

Ref<BoxBase> get(const ContextObject* context, const Ref<VarObject>& var) {
  checked(var);
  if (context == nullptr) return {};
  const Node* found = find(context->tree, var->id);
  return found != nullptr ? found->box : Ref<BoxBase>();
}

Ref<BoxBase> get(const Ref<VarObject>& var, bool fallback) {
  Ref<BoxBase> found = get(current_or_null(), var);
  if (!found && fallback) return var->default_value;
  return found;
}

void no_value(const Ref<VarObject>& var) { throw LookupError(describe(var)); }

Ref<TokenObject> set(const Ref<VarObject>& var, Ref<BoxBase> box) {
  checked(var);
  ContextObject& context = current();
  Ref<TokenObject> token(new TokenObject);
  token->var = var;
  token->old_value = get(&context, var);
  token->context = Ref<ContextObject>(&context);
  // The old tree dies last: destructors of its values may run any code.
  const Tree old = std::exchange(context.tree, with(context.tree, var, box));
  if (!token->old_value) ++context.size;
  return token;
}

void reset(const Ref<VarObject>& var, TokenObject* token) {
  checked(var);
  if (token->used.load(std::memory_order_relaxed))
    throw RuntimeError(describe("Token", token) + " has already been used once");
  if (token->var != var)
    throw ValueError(describe("Token", token) + " was created by a different ContextVar");
  ContextObject* context = current_or_null();
  if (context == nullptr || token->context.get() != context)
    throw ValueError(describe("Token", token) + " was created in a different Context");
  const bool held = find(context->tree, var->id) != nullptr;
  Tree next =
      token->old_value ? with(context->tree, var, token->old_value) : without(context->tree, var);
  token->used.store(true, std::memory_order_relaxed);
  context->size +=
      static_cast<std::size_t>(bool(token->old_value)) - static_cast<std::size_t>(held);
  const Tree old = std::exchange(context->tree, std::move(next));
}

Ref<ContextObject> copy(const ContextObject* context) {
  if (context == nullptr || !context->tree) return nullptr;
  Ref<ContextObject> made(new ContextObject);
  made->tree = context->tree;
  made->size = context->size;
  return made;
}

Ref<ContextObject> copy_current() { return copy(current_or_null()); }

namespace {

// Returns true if the running task has entered the context, by being run in it or by Entered. A
// task enters its own context without a mark; a greenlet of the user's merely refers to one.
bool entered_by_this_task(const ContextObject* context) {
  if (!running_greenlet().scheduled) return false;
  const ContextObject* at = current_or_null();
  while (at != nullptr && at != context) at = at->entered_from;
  return at != nullptr;
}

}  // namespace

Entered::Entered(Ref<ContextObject> context) : context_(std::move(context)) {
  if (entered_by_this_task(context_.get()) ||
      context_->entered.exchange(true, std::memory_order_acquire))
    throw RuntimeError("cannot enter context: " + describe("Context", context_.get()) +
                       " is already entered");
  previous_ = exchange_context(running_greenlet(), context_);
  context_->entered_from = previous_.get();
}

Entered::~Entered() {
  if (context_) leave();
}

void Entered::exit() {
  if (!leave())
    throw RuntimeError(
        "cannot exit context: the current greenlet refers to a different context by now");
}

// Leaves the context. Values of the contexts may be destroyed at the end of this function, when all
// else is done: their destructors may run any code.
bool Entered::leave() noexcept {
  const Ref<ContextObject> context = std::move(context_);
  const Ref<ContextObject> previous = std::move(previous_);
  const bool unchanged = current_or_null() == context.get();
  if (unchanged) exchange_context(running_greenlet(), previous);
  context->entered_from = nullptr;
  context->entered.store(false, std::memory_order_release);
  return unchanged;
}

}  // namespace detail

Context::Context() : object_(new detail::ContextObject) {}

const detail::Ref<detail::ContextObject>& Context::checked() const {
  if (!object_) throw ValueError("this context handle is null");
  return object_;
}

Context Context::copy() const {
  detail::Ref<detail::ContextObject> copied = detail::copy(object());
  return copied ? Context(std::move(copied)) : Context();
}

std::size_t Context::size() const noexcept { return object_ ? object_->size : 0; }

std::vector<ContextVarBase> Context::keys() const {
  std::vector<ContextVarBase> found;
  if (object_) detail::collect(object_->tree, found);
  return found;
}

Context copy_context() {
  detail::Ref<detail::ContextObject> copied = detail::copy_current();
  return copied ? Context(std::move(copied)) : Context();
}

namespace {

fiber::detail::GreenletObject* checked(const greenlet& g, const char* what) {
  fiber::detail::GreenletObject* object = g.object();
  if (object == nullptr) throw ValueError("this greenlet handle is null");
  if (object->owner.load(std::memory_order_relaxed) != &fiber::detail::greenlet_thread() &&
      object->state == fiber::detail::GreenletState::current)
    throw ValueError(std::string("cannot ") + what +
                     " context of a greenlet that is running in a different thread");
  return object;
}

}  // namespace

Context gr_context(const greenlet& g) {
  return Context(detail::Ref<detail::ContextObject>(detail::context_of(*checked(g, "get"))));
}

void gr_context(const greenlet& g, Context context) {
  fiber::detail::GreenletObject* object = checked(g, "set");
  detail::exchange_context(*object, detail::Ref<detail::ContextObject>(context.object()));
}

std::string repr(const ContextVarBase& var) {
  return "<ContextVar name=" + fiber::detail::quoted(var.name()) + " at " +
         fiber::detail::address_repr(var.object().get()) + ">";
}

std::string repr(const Context& context) {
  return context ? detail::describe("Context", context.object()) : "<Context null>";
}

std::ostream& operator<<(std::ostream& out, const ContextVarBase& var) { return out << repr(var); }
std::ostream& operator<<(std::ostream& out, const Context& context) { return out << repr(context); }

}  // namespace fiber::contextvars
