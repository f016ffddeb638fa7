// Greenlets: functions that switch to each other, at any depth, handing over values or exceptions.
// The names and the rules are those of Python's `greenlet` module.
//
//   fiber::greenlet gr1, gr2;
//   gr1 = fiber::greenlet([&] { say(1); gr2.switch_(); say(2); gr2.switch_(); });
//   gr2 = fiber::greenlet([&] { say(3); gr1.switch_(); say(4); });
//   gr1.switch_();                                   // 1 3 2 4
//
// A handle is a counted reference. Dropping the last one to a suspended greenlet throws
// GreenletExit into it, so that its stack is unwound. A greenlet runs only on the thread that made
// it; a pending one moves to a thread that gives it a parent there. Its handles may be copied and
// dropped on any thread (the unwinding is left to its own thread).
//
// Each greenlet has errno, the exceptions it is handling, the floating-point modes (fesetround; at
// first those of the code that starts it) and context variables of its own.
//
// The departures from Python: C++ exceptions cross to the parent just as Python's do; a thread that
// exits unwinds its suspended greenlets itself, newest first; a greenlet that keeps a handle to
// itself or to its child on its own stack lives until then.
#pragma once

#include <fiber/core/owner.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/greenlet/object.hpp>
#include <fiber/value.hpp>
#include <fiber/core/take.hpp>

#include <concepts>
#include <cstddef>
#include <iosfwd>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace fiber {

class greenlet;
class weak_greenlet;

/// Thrown into a greenlet to end it. When it escapes, the parent's switch_() returns a value for
/// which exited() is true instead of throwing. Not a std::exception, so that handlers of ordinary
/// errors let it pass; code that catches everything must rethrow it.
class FIBER_API GreenletExit : public BaseException {
 public:
  using BaseException::BaseException;
  ~GreenletExit() override;
};

/// Keyword arguments of greenlet().
struct GreenletOptions;

namespace detail {

template <class F>
struct call_signature {
  static constexpr bool known = false;
};
template <class R, class... P>
struct signature_of {
  static constexpr bool known = true;
  static constexpr std::size_t arity = sizeof...(P);
  using arguments = std::tuple<value_decay_t<P>...>;
  using parameters = std::tuple<P...>;
};
template <class R, class... P>
struct call_signature<R (*)(P...)> : signature_of<R, P...> {};
template <class R, class... P>
struct call_signature<R (*)(P...) noexcept> : signature_of<R, P...> {};
template <class R, class C, class... P>
struct call_signature<R (C::*)(P...)> : signature_of<R, P...> {};
template <class R, class C, class... P>
struct call_signature<R (C::*)(P...) const> : signature_of<R, P...> {};
template <class R, class C, class... P>
struct call_signature<R (C::*)(P...) noexcept> : signature_of<R, P...> {};
template <class R, class C, class... P>
struct call_signature<R (C::*)(P...) const noexcept> : signature_of<R, P...> {};
template <class F>
  requires requires { &F::operator(); }
struct call_signature<F> : call_signature<decltype(&F::operator())> {};

template <class F>
consteval bool can_run() {
  if constexpr (call_signature<F>::known)
    return true;
  else
    return std::invocable<F&> || std::invocable<F&, value>;
}

FIBER_API void reject_arguments(const value& arguments);

/// Returns the argument that was sent, as the parameter takes it; borrowed text comes as
/// std::string, which lives as long as the body runs.
template <class Parameter, class Argument>
decltype(auto) pass(Argument& argument) {
  if constexpr (std::same_as<std::remove_cvref_t<Parameter>, const char*>)
    return argument.c_str();
  else if constexpr (std::same_as<std::remove_cvref_t<Parameter>, char*>)
    return argument.data();
  else if constexpr (std::same_as<std::remove_cvref_t<Parameter>, std::string_view>)
    return std::string_view(argument);
  else
    return static_cast<Parameter&&>(argument);
}

template <class F>
class RunOf final : public Run {
 public:
  template <class G>
  explicit RunOf(G&& function) : function_(std::forward<G>(function)) {}

  value call(value arguments) override {
    using Signature = call_signature<F>;
    if constexpr (!Signature::known) {
      if constexpr (std::invocable<F&, value>) {
        return result_of([&]() -> decltype(auto) { return function_(std::move(arguments)); });
      } else {
        reject_arguments(arguments);
        return result_of([&]() -> decltype(auto) { return function_(); });
      }
    } else if constexpr (Signature::arity == 0) {
      reject_arguments(arguments);
      return result_of([&]() -> decltype(auto) { return function_(); });
    } else if constexpr (Signature::arity == 1) {
      using Argument = std::tuple_element_t<0, typename Signature::arguments>;
      using Parameter = std::tuple_element_t<0, typename Signature::parameters>;
      if constexpr (std::same_as<Argument, value>) {
        return result_of([&]() -> decltype(auto) { return function_(pass<Parameter>(arguments)); });
      } else {
        Argument argument = std::move(arguments).template as<Argument>();
        return result_of([&]() -> decltype(auto) { return function_(pass<Parameter>(argument)); });
      }
    } else {
      using Arguments = typename Signature::arguments;
      using Parameters = typename Signature::parameters;
      Arguments unpacked = std::move(arguments).template as<Arguments>();
      return [&]<std::size_t... I>(std::index_sequence<I...>) {
        return result_of([&]() -> decltype(auto) {
          return function_(pass<std::tuple_element_t<I, Parameters>>(std::get<I>(unpacked))...);
        });
      }(std::make_index_sequence<Signature::arity>());
    }
  }

 private:
  /// Makes a value of the result while the arguments are alive: the result may refer to them.
  template <class Call>
  static value result_of(Call call) {
    if constexpr (std::is_void_v<decltype(call())>) {
      call();
      return {};
    } else {
      return value(call());
    }
  }

  F function_;
};

template <class F>
core::Owner<Run> make_run(F&& function) {
  return core::Owner<Run>(new RunOf<std::decay_t<F>>(std::forward<F>(function)));
}

}  // namespace detail

/// A callable that can be the body of a greenlet: its parameters take the arguments of the first
/// switch_() (matched by exact type; text by std::string, const char* and std::string_view alike);
/// a parameter of type `value` takes anything.
template <class F>
concept runnable =
    !std::same_as<std::remove_cvref_t<F>, greenlet> &&
    !std::same_as<std::remove_cvref_t<F>, std::nullptr_t> && detail::can_run<std::decay_t<F>>();

/// A handle to a greenlet; copies refer to the same greenlet, and == compares identity. A null
/// handle throws ValueError for everything except being copied, compared, printed and converted to
/// bool. The functions are for the greenlet's own thread; dead(), the conversion to bool and repr()
/// for any.
class FIBER_API greenlet {
 public:
  /// greenlet.error: a switch to another thread's greenlet, or to one whose thread has exited.
  class FIBER_API error : public Exception {
   public:
    using Exception::Exception;
    ~error() override;
  };
  using GreenletExit = fiber::GreenletExit;  ///< Python: greenlet.GreenletExit

  /// Makes a pending greenlet without a body: give it one with run() before switching to it.
  greenlet();
  /// Makes a pending greenlet; its parent is the current greenlet. No stack is taken before the
  /// first switch. Throws the exceptions of copying the body; ValueError (a parent of another
  /// thread). Like every other call it may unwind greenlets of this thread that other threads have
  /// dropped.
  template <runnable F>
  explicit greenlet(F&& run) : greenlet(detail::make_run(std::forward<F>(run))) {}
  template <runnable F>
  greenlet(F&& run, const GreenletOptions& options)
      : greenlet(detail::make_run(std::forward<F>(run)), options) {}
  explicit greenlet(const GreenletOptions& options);
  /// Makes a null handle.
  greenlet(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)

  greenlet(const greenlet& other) noexcept;
  greenlet(greenlet&& other) noexcept : object_(core::take(other.object_)) {}
  greenlet& operator=(const greenlet& other) noexcept;
  greenlet& operator=(greenlet&& other) noexcept;
  ~greenlet();

  /// Continues the greenlet and hands `args` over: as the arguments of its body if it is pending,
  /// else as the result of the switch_() or throw_() in which it is suspended. Returns the value
  /// that is later sent to the caller, by a greenlet that switches back or by a child that ends. A
  /// switch to a dead greenlet goes to its nearest ancestor that lives.
  /// Throws the exception that the other side throws into the caller; greenlet::error (wrong
  /// thread), AttributeError (no body), MemoryError (no stack), RuntimeError (it waits, and only
  /// its scheduler may continue it). A body that cannot take the arguments dies of a TypeError,
  /// which goes to its parent. Python: greenlet.switch.
  template <class... Args>
  FIBER_INLINE value switch_(Args&&... args) const {
    if constexpr (sizeof...(Args) == 0)
      return detail::greenlet_thread().switch_to(checked());
    else
      return detail::greenlet_thread().switch_to(checked(),
                                                 value::pack(std::forward<Args>(args)...));
  }

  /// Raises an exception where the greenlet is suspended; GreenletExit by default. A pending
  /// greenlet dies without running; a dead one passes the exception on to its nearest living
  /// ancestor. Returns and throws as switch_(). A null exception is a ValueError in the caller.
  /// Python: greenlet.throw.
  value throw_() const;
  value throw_(std::exception_ptr exception) const;
  template <class E>
    requires(!std::convertible_to<E, std::exception_ptr>)
  value throw_(E&& exception) const {
    return throw_(std::make_exception_ptr(std::forward<E>(exception)));
  }

  /// Returns true once the body has ended, or the thread that could continue it has exited. Python:
  /// g.dead.
  bool dead() const;
  /// Returns whether the greenlet has started and not yet ended. Python: bool(g).
  explicit operator bool() const;

  /// Returns the greenlet that gets the result or exception when the body ends. Null for the
  /// thread's main greenlet. The reference is not counted: copy it to keep the parent alive.
  /// Python: g.parent.
  const greenlet& parent() const;
  /// Sets the parent. Throws AttributeError (main), TypeError (null), ValueError (cycles, another
  /// thread's parent). A pending greenlet of another thread, even of one that has exited, moves to
  /// this thread; no other thread may use it meanwhile. A started one of another thread is a
  /// ValueError.
  void parent(const greenlet& new_parent) const;

  /// Sets or replaces the body of a pending greenlet. Throws AttributeError once it has started.
  /// Python: g.run = function.
  template <runnable F>
  void run(F&& function) const {
    set_run(detail::make_run(std::forward<F>(function)));
  }

  /// Returns the name, for messages and listings; "" if it has none.
  std::string name() const;
  void name(std::string_view new_name) const;

  /// Returns the bytes of its stack touched so far, page-exact, by this greenlet or by a fiber that
  /// had the stack before; 0 while it has none.
  std::size_t stack_used() const;

  /// Returns fiber::getcurrent().
  static const greenlet& getcurrent();

  friend bool operator==(const greenlet& a, const greenlet& b) noexcept = default;

  /// For the layers above.
  explicit greenlet(detail::GreenletObject* object) noexcept;
  struct borrow {};
  greenlet(borrow, detail::GreenletObject* object) noexcept : object_(object) {}
  detail::GreenletObject* object() const noexcept { return object_; }

 private:
  explicit greenlet(core::Owner<detail::Run> run);
  greenlet(core::Owner<detail::Run> run, const GreenletOptions& options);
  void set_run(core::Owner<detail::Run> run) const;
  detail::GreenletObject* checked() const {
    if (object_ == nullptr) [[unlikely]]
      refuse_null();
    return object_;
  }
  [[noreturn]] static void refuse_null();

  detail::GreenletObject* object_ = nullptr;
};

/// The options {.parent = p, .stack_size = 1 << 20, .name = "worker"}, each as wanted.
struct GreenletOptions {
  greenlet parent = nullptr;  ///< of this thread (else ValueError); null: the current greenlet
  /// Bytes, rounded up to a power of two, 16 KiB at least; 0: stacks::default_size(), 256 KiB
  /// unless changed. More than 1 TiB is a MemoryError in the switch_() that would start the
  /// greenlet.
  std::size_t stack_size = 0;
  std::string name = {};  ///< for messages and listings
  /// Bytes below the stack that no code may touch, rounded up to whole pages; 0:
  /// stacks::default_guard_size(), 68 KiB unless changed. More than 128 GiB is a MemoryError as
  /// well.
  std::size_t guard_size = 0;
};

/// Returns the running greenlet of this thread, the main one if none was started. The reference is
/// not counted and lasts as long as the greenlet does; a copy is counted. Python:
/// greenlet.getcurrent.
FIBER_API const greenlet& getcurrent();

/// Returns every greenlet of this thread that has started and not ended, main included, in the
/// order in which they started.
FIBER_API std::vector<greenlet> all_greenlets();

/// Calls `callback` after each switch of this thread, in the target, before the value or exception
/// is delivered; the event is "switch" or "throw". Returns the previous one; an empty function
/// turns tracing off. A callback that throws is turned off, and the target gets its exception
/// instead. Python: greenlet.settrace.
///
///   using trace_function =
///       std::function<void(const char* event, const greenlet& origin, const greenlet& target)>;
FIBER_API trace_function settrace(trace_function callback);
/// Returns this thread's callback; empty if there is none. Python: greenlet.gettrace.
FIBER_API trace_function gettrace();

/// Does nothing: each greenlet has the whole floating-point control register to itself, the modes
/// of `<cfenv>` (rounding, trapping) and those of the vector unit (_mm_setcsr: flush-to-zero,
/// denormals-are-zero) alike. Kept for code that asks.
FIBER_API void keep_mxcsr();

/// Returns Python's repr: "<greenlet at 0x7f… 'name' suspended active started>"; the states are
/// "pending", "current active started", "suspended active started" and "dead", followed by "main"
/// for a main greenlet.
FIBER_API std::string repr(const greenlet& g);
FIBER_API std::ostream& operator<<(std::ostream& out, const greenlet& g);

/// A handle that does not keep the greenlet alive. May be used on any thread. Python: weakref.ref.
class FIBER_API weak_greenlet {
 public:
  /// Refers to no greenlet, like a weak_greenlet made of a null handle.
  weak_greenlet() noexcept = default;
  explicit weak_greenlet(const greenlet& g);
  weak_greenlet(const weak_greenlet& other) noexcept;
  weak_greenlet(weak_greenlet&& other) noexcept : block_(core::take(other.block_)) {}
  weak_greenlet& operator=(weak_greenlet other) noexcept {
    core::swap_pointers(block_, other.block_);
    return *this;
  }
  ~weak_greenlet();

  /// Returns a handle, null once the greenlet is gone.
  greenlet lock() const;

 private:
  detail::WeakBlock* block_ = nullptr;
};

/// An error that had no caller to go to: one in a greenlet that was being unwound, or a greenlet
/// that outlived its GreenletExit (in that case `exception` is null).
struct UnraisableHookArgs {
  std::exception_ptr exception;  ///< null: see above
  std::string message;           ///< "Exception ignored in", "GreenletExit did not end", ...
  greenlet object = nullptr;     ///< in which it happened; null if in none
};
/// A function that replaces the writing to stderr.
using unraisable_hook = std::function<void(const UnraisableHookArgs&)>;

/// Replaces the process-wide hook, which by default writes to stderr; returns the previous one. An
/// empty function brings the default back. It may be called on any thread and must not throw.
/// Python: sys.unraisablehook.
FIBER_API unraisable_hook set_unraisablehook(unraisable_hook hook);

namespace detail {
FIBER_API void unraisable(std::exception_ptr error, std::string_view message,
                          GreenletObject* object) noexcept;
/// Returns the exception that is thrown into a greenlet without references. The first call
/// allocates.
const GreenletExit& last_reference_dropped();
}  // namespace detail

}  // namespace fiber

template <>
struct std::hash<fiber::greenlet> {
  std::size_t operator()(const fiber::greenlet& g) const noexcept {
    return std::hash<const void*>()(g.object());
  }
};
