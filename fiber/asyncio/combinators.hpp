// The futures behind gather, wait and shield: callbacks run in the iterations in which CPython's
// run.
#pragma once

#include <fiber/asyncio/coroutines.hpp>
#include <fiber/core/owner.hpp>
#include <fiber/standard.hpp>

#include <concepts>
#include <cstdint>
#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace fiber::asyncio {

namespace detail {

template <class T>
struct OutcomeValue {
  using type = std::remove_cv_t<T>;
};
template <class T>
struct OutcomeValue<T&> {
  using type = std::reference_wrapper<T>;
};
template <>
struct OutcomeValue<void> {
  using type = None;
};
template <class T>
using outcome_value_t = typename OutcomeValue<T>::type;

}  // namespace detail

/// A result or an exception: an element of the result of gather(return_exceptions, ...).
template <class T>
class Outcome {
 public:
  /// None for void, std::reference_wrapper for a reference.
  using value_type = detail::outcome_value_t<T>;

  Outcome(value_type value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
  /// Holds an exception. A T that is std::exception_ptr itself has no such constructor: a given
  /// exception_ptr is a value then.
  Outcome(std::exception_ptr error)  // NOLINT(google-explicit-constructor)
    requires(!std::same_as<value_type, std::exception_ptr>)
      : error_(std::move(error)) {}
  /// Holds an exception.
  static Outcome failed(std::exception_ptr error) {
    Outcome made;
    made.error_ = std::move(error);
    return made;
  }

  bool has_value() const noexcept { return error_ == nullptr; }  ///< false for an exception
  explicit operator bool() const noexcept { return has_value(); }
  /// Returns the value, or throws the exception.
  const value_type& value() const& {
    if (error_) std::rethrow_exception(error_);
    return *value_;
  }
  value_type value() && {
    if (error_) std::rethrow_exception(error_);
    return std::move(*value_);
  }
  /// Returns the exception; null for a value.
  const std::exception_ptr& exception() const noexcept { return error_; }

 private:
  Outcome() noexcept = default;
  std::optional<value_type> value_;
  std::exception_ptr error_;
};

template <class A>
auto ensure_future(A&& awaitable);

/// The end of a wait(): one future has ended, one has failed (or all have ended), all have ended.
/// Python: asyncio.FIRST_COMPLETED and its like.
enum class ReturnWhen { FIRST_COMPLETED, FIRST_EXCEPTION, ALL_COMPLETED };
using enum ReturnWhen;
}  // namespace fiber::asyncio

namespace fiber::asyncio::detail {

/// Returns the running loop; where no loop runs, the thread's, as in Python.
FIBER_API LoopObject& loop_for_futures();
/// Throws ValueError if the future belongs to another loop.
FIBER_API void check_loop(const FutureBase& future, const LoopObject& loop);

/// Takes back a task that a call has made before it fails: drops its callable, which may refer to
/// variables that end with the call, and its body never runs. A task that has begun runs on. A null
/// reference is none.
FIBER_API void withdraw(const FutureRef& task) noexcept;

// --- gather ---

class FIBER_API GatherBase : public FutureBase, LoopDependent {
 public:
  GatherBase(LoopObject* loop, bool return_exceptions) noexcept
      : FutureBase(loop), LoopDependent(*loop), return_exceptions_(return_exceptions) {
    is_gather_ = true;
  }
  ~GatherBase() override;

  /// Takes the children and registers with them; those that are done already count at once. Throws
  /// ValueError if they belong to several loops, std::bad_alloc; in both cases the caller keeps
  /// them.
  void start(std::vector<FutureRef>& children);
  bool cancel(std::string message) override;
  void loop_closed() noexcept override;
  const char* class_name() const noexcept override { return "_GatheringFuture"; }

 protected:
  virtual void collect() = 0;  ///< stores the results of all children
  std::vector<FutureRef> children_;

 private:
  struct Node : LeafCallback {
    GatherBase* gather = nullptr;
    FutureBase* child = nullptr;
  };
  friend class Cancellation;
  friend class GatherInTurn;
  void listen(std::size_t index) noexcept;  ///< with a claim
  void child_done(FutureBase& child) noexcept;
  void node_over() noexcept;
  static void on_child(Leaf* leaf) noexcept;
  static void on_drop(LeafCallback* leaf) noexcept;

  core::Owner<Node[]> nodes_;
  std::size_t registered_ = 0;  ///< registered nodes; together they are one reference
  std::size_t finished_ = 0;
  std::size_t waited_for_ = 0;
  struct Cancelling {
    FutureBase* above = nullptr;
    std::size_t index = 0;  ///< of the child that is being cancelled
    bool any = false;       ///< a child before `index` accepted the cancellation
    bool active = false;
  };
  Cancelling cancelling_;  ///< see Cancellation
  bool return_exceptions_;
  bool cancel_requested_ = false;
};

/// Makes a gather whose tasks may run inside the call that makes them: it registers with each child
/// before the next is made, as CPython's does. If all tasks run later, no program can see the
/// difference, and start(), which knows all children, is faster.
class FIBER_API GatherInTurn {
 public:
  /// Returns true in a loop with a task factory.
  static bool wanted() noexcept;

  using Make = GatherBase* (*)(LoopObject* loop);
  GatherInTurn(Make make, std::size_t count) noexcept;
  /// Drops the gather, unless finished: withdraws the children that it has made. Those that have
  /// begun run on, and their ends go nowhere.
  ~GatherInTurn();
  GatherInTurn(const GatherInTurn&) = delete;
  GatherInTurn& operator=(const GatherInTurn&) = delete;

  /// Adds a child; `made`: a task of gather's own. The first one's loop becomes the gather's.
  /// Throws ValueError if the child belongs to another loop; std::bad_alloc.
  void add(FutureRef child, bool made = false);
  /// Returns the gather, after `count` children, of which there is at least one.
  FutureBase* finish();

 private:
  struct Seen;
  void begin(LoopObject* loop);
  void add_seen(FutureRef child);

  Make make_;
  std::size_t count_;
  GatherBase* gather_ = nullptr;
  FutureRef held_;
  core::Owner<Seen> seen_;  ///< null: no child so far
  std::vector<FutureBase*> done_;
  std::vector<FutureRef> made_;
  bool finished_ = false;
};

/// Returns the result of a child that is done: a copy, or moved if there is no other handle.
template <class T>
auto take_result(FutureBase& child) {
  if constexpr (std::is_void_v<T>) {
    return None{};
  } else if constexpr (std::is_reference_v<T>) {
    return std::ref(slot_of<T>(child).get());
  } else {
    using Value = std::remove_cv_t<T>;
    Value& result = slot_of<T>(child).get();
    if constexpr (is_copyable<T>()) {
      if (child.refs() > 1) return Value(result);
    } else {
      check_not_taken<T>(child);
      child.taken = true;
    }
    return Value(std::move(result));
  }
}
template <class T>
using gathered_t = decltype(take_result<T>(std::declval<FutureBase&>()));

template <class T>
Outcome<T> take_outcome(FutureBase& child) {
  if (child.cancelled()) return Outcome<T>::failed(child.new_cancelled_error());
  if (child.peek_exception()) return Outcome<T>::failed(child.peek_exception());
  try {
    check_not_taken<T>(child);
  } catch (const InvalidStateError&) {
    return Outcome<T>::failed(std::current_exception());
  }
  return Outcome<T>(take_result<T>(child));
}

template <bool kExceptions, class T>
auto take(FutureBase& child) {
  if constexpr (kExceptions)
    return take_outcome<T>(child);
  else
    return take_result<T>(child);
}
template <bool kExceptions, class T>
using taken_t = decltype(take<kExceptions, T>(std::declval<FutureBase&>()));

template <bool kExceptions, class... T>
class GatherTuple final : public WithSlot<std::tuple<taken_t<kExceptions, T>...>, GatherBase> {
 public:
  using Results = std::tuple<taken_t<kExceptions, T>...>;
  explicit GatherTuple(LoopObject* loop) : WithSlot<Results, GatherBase>(loop, kExceptions) {}

 private:
  void collect() override {
    [this]<std::size_t... I>(std::index_sequence<I...>) {
      this->slot_.value.emplace(take<kExceptions, T>(this->children_[I].base())...);
    }(std::index_sequence_for<T...>());
  }
};

/// The type of the result of ensure_future(awaitable).
template <class A>
using ensured_t = typename decltype(asyncio::ensure_future(std::declval<A>()))::result_type;

/// Makes a task that is not reported when its loop is closed before its end: gather's own.
template <class A>
auto ensure_child(A&& awaitable) {
  auto child = asyncio::ensure_future(std::forward<A>(awaitable));
  if constexpr (!future_like<A>) static_cast<TaskBase&>(child.base()).log_destroy_pending = false;
  return child;
}

/// Appends a child. There is a place before there is a task, so that no task is lost.
template <class A>
void append_child(std::vector<FutureRef>& children, A&& awaitable) {
  if constexpr (future_like<A>) {
    children.emplace_back(std::forward<A>(awaitable));
  } else {
    FutureRef& place = children.emplace_back();
    place = ensure_child(std::forward<A>(awaitable));
  }
}

/// Makes a gather of the children, which stay the caller's if this throws.
template <class Gather>
auto start_gather(std::vector<FutureRef>& children) {
  LoopObject* loop = children.empty() ? &loop_for_futures() : children.front().base().loop();
  auto* gather = new Gather(loop);
  Future<typename Gather::Results> handle(gather);
  gather->start(children);
  return handle;
}

template <bool kExceptions, class... A>
auto gather_each(A&&... awaitables) {
  using Gather = GatherTuple<kExceptions, ensured_t<A>...>;
  if constexpr (!(... && future_like<A>)) {
    if (GatherInTurn::wanted()) [[unlikely]] {
      GatherInTurn gather([](LoopObject* loop) -> GatherBase* { return new Gather(loop); },
                          sizeof...(A));
      (gather.add(ensure_child(std::forward<A>(awaitables)), !future_like<A>), ...);
      return Future<typename Gather::Results>(gather.finish());
    }
  }
  std::vector<FutureRef> children;
  children.reserve(sizeof...(A));
  try {
    (append_child(children, std::forward<A>(awaitables)), ...);
    return start_gather<Gather>(children);
  } catch (...) {
    constexpr bool kMade[] = {!future_like<A>..., false};
    for (std::size_t i = 0; i < children.size(); ++i)
      if (kMade[i]) withdraw(children[i]);
    throw;
  }
}

template <bool kExceptions, class T>
class GatherRange final : public WithSlot<std::vector<taken_t<kExceptions, T>>, GatherBase> {
 public:
  using Results = std::vector<taken_t<kExceptions, T>>;
  explicit GatherRange(LoopObject* loop) : WithSlot<Results, GatherBase>(loop, kExceptions) {}

 private:
  void collect() override {
    Results results;
    results.reserve(this->children_.size());
    for (const FutureRef& child : this->children_)
      results.push_back(take<kExceptions, T>(child.base()));
    this->slot_.value.emplace(std::move(results));
  }
};

template <bool kExceptions, class R>
auto gather_range(R&& awaitables) {
  using Element = std::ranges::range_reference_t<R>;
  using Gather = GatherRange<kExceptions, ensured_t<Element>>;
  if constexpr (!future_like<Element>) {
    if (GatherInTurn::wanted()) [[unlikely]] {
      // Python has all awaitables before it makes the first task.
      std::vector<std::remove_cvref_t<Element>> all;
      if constexpr (std::ranges::sized_range<R>) all.reserve(std::ranges::size(awaitables));
      for (auto&& awaitable : awaitables) all.emplace_back(std::forward<Element>(awaitable));
      if (!all.empty()) {
        GatherInTurn gather([](LoopObject* loop) -> GatherBase* { return new Gather(loop); },
                            all.size());
        for (auto& awaitable : all) gather.add(ensure_child(std::move(awaitable)), true);
        return Future<typename Gather::Results>(gather.finish());
      }
    }
  }
  std::vector<FutureRef> children;
  if constexpr (std::ranges::sized_range<R>) children.reserve(std::ranges::size(awaitables));
  try {
    for (auto&& awaitable : awaitables)
      append_child(children, std::forward<decltype(awaitable)>(awaitable));
    return start_gather<Gather>(children);
  } catch (...) {
    if constexpr (!future_like<Element>)
      for (const FutureRef& child : children) withdraw(child);
    throw;
  }
}

/// Waits for all children whatever their types; the result has no value.
FIBER_API Future<> gather_untyped(std::vector<FutureRef> children);

// --- wait ---

/// Waits until the condition holds or the time is over. Removes repeated futures from `futures`,
/// and keeps their order. Throws ValueError if there are none, or one belongs to another loop.
FIBER_API void wait_for_any(std::vector<FutureBase*>& futures,
                            const std::optional<nanoseconds>& timeout, ReturnWhen return_when);
/// Cancels a future and waits for its end.
FIBER_API void cancel_and_wait(FutureBase& future);

// --- shield ---

class FIBER_API ShieldBase : public FutureBase, LoopDependent {
 public:
  ShieldBase(LoopObject* loop, FutureRef inner) noexcept;
  ~ShieldBase() override;
  void start();
  void loop_closed() noexcept override;

 protected:
  virtual void copy_result(FutureBase& inner) = 0;

 private:
  struct Node : LeafCallback {
    ShieldBase* shield = nullptr;
  };
  static void on_inner(Leaf* leaf) noexcept;
  static void on_outer(Leaf* leaf) noexcept;
  static void on_drop(LeafCallback* leaf) noexcept;
  FutureRef inner_;
  Node inner_node_;
  Node outer_node_;
};

template <class T>
class ShieldOf final : public WithSlot<T, ShieldBase> {
 public:
  using WithSlot<T, ShieldBase>::WithSlot;

 private:
  void copy_result(FutureBase& inner) override {
    if constexpr (std::is_reference_v<T>)
      this->slot_.value = slot_of<T>(inner).value;
    else if constexpr (!std::is_void_v<T>)
      this->slot_.value.emplace(take_result<T>(inner));
    else
      static_cast<void>(inner);
  }
};

/// `made`: the inner future is a task of the call's own, and is withdrawn if there is no shield.
template <class T>
Future<T> make_shield(const FutureRef& inner, bool made) try {
  auto* shield = new ShieldOf<T>(inner.base().loop(), inner);
  Future<T> handle(shield);
  shield->start();
  return handle;
} catch (...) {
  if (made) withdraw(inner);
  throw;
}

}  // namespace fiber::asyncio::detail
