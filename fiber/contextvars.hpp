// Context variables: variables whose value belongs to a context of execution, under the names and
// rules of Python's `contextvars` module (PEP 567).
//
//   fiber::contextvars::ContextVar<int> request("request", 0);
//   auto token = request.set(7);
//   request.get();                                   // 7
//   request.reset(token);
//
// Every greenlet has a context of its own, empty at first; a task starts with a copy of its
// creator's. Copying a context is O(1), whatever its size; reading and setting a variable is O(log
// n) in the number of variables set.
//
// Variables may be used, and values read, on any thread; a context is used by one thread at a time.
// Copies share their values; the last copy that is dropped destroys them, on its thread.
#pragma once

#include <fiber/core/ref.hpp>
#include <fiber/standard.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/greenlet.hpp>
#include <fiber/greenlet/object.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace fiber::contextvars {

template <class T>
class ContextVar;
template <class T>
class Token;
class Context;

namespace detail {

using core::Ref;

struct Node;

/// The variables and values of a context. Counted by any thread.
struct FIBER_API ContextObject final : fiber::detail::Belongings {
  ContextObject() noexcept = default;
  ~ContextObject() override;

  std::atomic<bool> entered{false};
  /// While this is entered: the context that was left for it, alive as long. Null for an empty one.
  const ContextObject* entered_from = nullptr;
  std::size_t size = 0;  ///< variables that have a value
  Ref<Node> tree;        ///< the values, by variable
};

struct FIBER_API BoxBase : core::SharedCounted<BoxBase> {
  virtual ~BoxBase();
  void unreferenced() noexcept;
  BoxBase* next_dead = nullptr;  ///< in the trashcan
};
template <class T>
struct Box final : BoxBase {
  template <class U>
  explicit Box(U&& object) : held(std::forward<U>(object)) {}
  const T held;
};

struct FIBER_API VarObject final : core::SharedCounted<VarObject> {
  std::string name;
  Ref<BoxBase> default_value;
  std::uint64_t id = 0;        ///< in the order of creation
  std::uint64_t priority = 0;  ///< the id, well mixed
};

struct FIBER_API TokenObject final : core::SharedCounted<TokenObject> {
  Ref<VarObject> var;
  Ref<BoxBase> old_value;
  Ref<ContextObject> context;
  std::atomic<bool> used{false};
};

/// Throws ValueError: the handle was moved from; so does the next one.
[[noreturn]] FIBER_API void refuse_moved_var();
[[noreturn]] FIBER_API void refuse_moved_token();
inline VarObject& checked(const Ref<VarObject>& var) {
  if (!var) [[unlikely]]
    refuse_moved_var();
  return *var;
}

FIBER_API Ref<VarObject> make_var(std::string name, Ref<BoxBase> default_value);
/// Returns null if the variable has no value. With `fallback`, the variable's default counts as
/// one.
FIBER_API Ref<BoxBase> get(const Ref<VarObject>& var, bool fallback);
FIBER_API Ref<BoxBase> get(const ContextObject* context, const Ref<VarObject>& var);
[[noreturn]] FIBER_API void no_value(const Ref<VarObject>& var);
FIBER_API Ref<TokenObject> set(const Ref<VarObject>& var, Ref<BoxBase> box);
FIBER_API void reset(const Ref<VarObject>& var, TokenObject* token);

/// For the layers above. A context is null while it is empty and no code needs its identity.
FIBER_API Ref<ContextObject> copy_current();
FIBER_API Ref<ContextObject> copy(const ContextObject* context);
inline ContextObject* context_of(const fiber::detail::GreenletObject& greenlet) noexcept {
  return static_cast<ContextObject*>(greenlet.belongings.get());
}
/// Gives a greenlet another context, and returns the previous one.
inline Ref<ContextObject> exchange_context(fiber::detail::GreenletObject& greenlet,
                                           Ref<ContextObject> context) noexcept {
  auto* const before = static_cast<ContextObject*>(greenlet.belongings.detach());
  greenlet.belongings = std::move(context);
  return Ref<ContextObject>::adopt(before);
}

/// Makes `context` the current greenlet's as long as this object exists. Throws RuntimeError if
/// `context` is entered already.
class FIBER_API Entered {
 public:
  explicit Entered(Ref<ContextObject> context);
  Entered(const Entered&) = delete;
  Entered& operator=(const Entered&) = delete;
  ~Entered();
  /// Leaves the context. Throws RuntimeError if the current greenlet has another context by now.
  void exit();

 private:
  bool leave() noexcept;
  Ref<ContextObject> context_;
  Ref<ContextObject> previous_;
};

}  // namespace detail

/// A variable of any type: its identity and its name. A handle that was moved from may be assigned
/// to and compared; all other functions throw ValueError. The rule holds for a Token, too.
class FIBER_API ContextVarBase {
 public:
  /// Python: var.name.
  const std::string& name() const { return detail::checked(var_).name; }
  friend bool operator==(const ContextVarBase& a, const ContextVarBase& b) noexcept = default;

  /// For the layers above.
  explicit ContextVarBase(detail::Ref<detail::VarObject> var) noexcept : var_(std::move(var)) {}
  const detail::Ref<detail::VarObject>& object() const noexcept { return var_; }

 protected:
  detail::Ref<detail::VarObject> var_;
};

/// A variable. Copies are the same variable. Reading copies the value: a T that is expensive to
/// copy is best held by a shared_ptr.
template <class T>
class ContextVar : public ContextVarBase {
  static_assert(std::same_as<T, std::decay_t<T>>, "a context variable holds an object");

 public:
  explicit ContextVar(std::string name) : ContextVarBase(detail::make_var(std::move(name), {})) {}
  ContextVar(std::string name, T default_value)
      : ContextVarBase(detail::make_var(std::move(name), box(std::move(default_value)))) {}

  /// Returns the value in the current context, else `otherwise`, else the variable's default.
  /// Throws LookupError if there is none of these.
  T get() const {
    const auto found = detail::get(var_, true);
    if (!found) [[unlikely]]
      detail::no_value(var_);
    return unbox(found);
  }
  T get(T otherwise) const {
    const auto found = detail::get(var_, false);
    return found ? unbox(found) : std::move(otherwise);
  }

  /// Sets the variable in the current context. Returns a token that restores the previous value.
  Token<T> set(T object) const { return Token<T>(detail::set(var_, box(std::move(object)))); }

  /// Restores the value from before the set() that returned the token; if there was none, the
  /// variable has none again. Throws RuntimeError (a token is used once), ValueError (the token is
  /// another variable's, or comes from another context).
  void reset(const Token<T>& token) const { detail::reset(var_, &token.checked()); }

 private:
  friend class Context;
  friend class Token<T>;
  explicit ContextVar(detail::Ref<detail::VarObject> var) noexcept
      : ContextVarBase(std::move(var)) {}
  static detail::Ref<detail::BoxBase> box(T&& object) {
    return detail::Ref<detail::BoxBase>(new detail::Box<T>(std::move(object)));
  }
  static const T& unbox(const detail::Ref<detail::BoxBase>& found) noexcept {
    return static_cast<const detail::Box<T>*>(found.get())->held;
  }
};
template <class T>
ContextVar(std::string, T) -> ContextVar<T>;
ContextVar(std::string, const char*) -> ContextVar<std::string>;

/// The token that set() returns. Copies are the same token.
template <class T>
class Token {
 public:
  /// The variable that the token restores. Python: token.var.
  ContextVar<T> var() const { return ContextVar<T>(checked().var); }
  /// Returns true if the variable had no value before. Python: token.old_value is Token.MISSING.
  bool missing() const { return !checked().old_value; }
  /// Returns the value before. Throws LookupError if there was none.
  T old_value() const {
    const auto& old = checked().old_value;
    if (!old) detail::no_value(token_->var);
    return ContextVar<T>::unbox(old);
  }
  friend bool operator==(const Token& a, const Token& b) noexcept = default;

 private:
  friend class ContextVar<T>;
  explicit Token(detail::Ref<detail::TokenObject> token) noexcept : token_(std::move(token)) {}
  detail::TokenObject& checked() const {
    if (!token_) [[unlikely]]
      detail::refuse_moved_token();
    return *token_;
  }
  detail::Ref<detail::TokenObject> token_;
};

/// A set of variables with their values. Copies of the handle are the same context; == compares
/// identity. Null (made from nullptr) stands for Python's None: gr_context() returns it for a
/// greenlet that has set no variable. A null handle behaves as an empty context that cannot be
/// entered.
class FIBER_API Context {
 public:
  /// Makes a new, empty context.
  Context();
  Context(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)
  /// Calls `function(args...)` with this as the current context, and returns the result. Variables
  /// that the function sets keep their values in this context. Throws RuntimeError, before calling,
  /// if this context is entered already, or is the one that the running task is in.
  template <class F, class... Args>
  decltype(auto) run(F&& function, Args&&... args) const {
    detail::Entered entered(checked());
    if constexpr (std::is_void_v<std::invoke_result_t<F, Args...>>) {
      std::apply(std::forward<F>(function), std::forward_as_tuple(std::forward<Args>(args)...));
      entered.exit();
    } else {
      decltype(auto) result =
          std::apply(std::forward<F>(function), std::forward_as_tuple(std::forward<Args>(args)...));
      entered.exit();
      return static_cast<std::invoke_result_t<F, Args...>>(
          static_cast<std::invoke_result_t<F, Args...>&&>(result));
    }
  }

  /// Returns a new context with equal values. O(1). Python: ctx.copy().
  Context copy() const;

  /// Returns the number of variables that have a value here. Python: len(ctx).
  std::size_t size() const noexcept;
  /// Returns whether the variable has a value here. Python: var in ctx.
  bool contains(const ContextVarBase& var) const {
    return bool(detail::get(object(), var.object()));
  }
  /// Returns the value of a variable here; its default is not used. Throws LookupError. Python:
  /// ctx[var].
  template <class T>
  T operator[](const ContextVar<T>& var) const {
    const auto found = detail::get(object(), var.object());
    if (!found) detail::no_value(var.object());
    return ContextVar<T>::unbox(found);
  }
  /// Returns the value of a variable here; empty where Python's ctx.get(var) gives None.
  template <class T>
  std::optional<T> get(const ContextVar<T>& var) const {
    const auto found = detail::get(object(), var.object());
    return found ? std::optional<T>(ContextVar<T>::unbox(found)) : std::nullopt;
  }
  template <class T>
  T get(const ContextVar<T>& var, std::type_identity_t<T> otherwise) const {
    const auto found = detail::get(object(), var.object());
    return found ? ContextVar<T>::unbox(found) : std::move(otherwise);
  }
  /// Returns the variables that have a value here, in the order in which they were made.
  std::vector<ContextVarBase> keys() const;

  explicit operator bool() const noexcept { return bool(object_); }
  friend bool operator==(const Context& a, const Context& b) noexcept = default;

  /// For the layers above.
  explicit Context(detail::Ref<detail::ContextObject> object) noexcept
      : object_(std::move(object)) {}
  detail::ContextObject* object() const noexcept { return object_.get(); }

 private:
  const detail::Ref<detail::ContextObject>& checked() const;

  detail::Ref<detail::ContextObject> object_;
};

/// Returns a copy of the current context. O(1).
FIBER_API Context copy_context();

/// Returns the context of a greenlet, null if it has none yet: live, not a copy. A pending,
/// suspended or dead greenlet may belong to any thread; throws ValueError if it runs on another
/// one, or the handle is null. Python: g.gr_context.
FIBER_API Context gr_context(const greenlet& g);
/// Gives a greenlet another context, which may be shared with others; null for none. Throws as
/// above.
FIBER_API void gr_context(const greenlet& g, Context context);

/// Returns Python's repr: "<ContextVar name='request' at 0x…>", "<Context at 0x…>".
FIBER_API std::string repr(const ContextVarBase& var);
FIBER_API std::string repr(const Context& context);
FIBER_API std::ostream& operator<<(std::ostream& out, const ContextVarBase& var);
FIBER_API std::ostream& operator<<(std::ostream& out, const Context& context);

}  // namespace fiber::contextvars
