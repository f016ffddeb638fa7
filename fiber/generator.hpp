// Generators: functions that yield one item after the other to the code that asks for the next. The
// names and the rules are those of Python's generators (PEP 342, 380 and 479).
//
//   fiber::Generator<int> func2() { return [](auto& self) { self.yield(3); self.yield(4); }; }
//   fiber::Generator<int> func1() {
//     return [](auto& self) { self.yield(1); self.yield_from(func2()); self.yield(2); };
//   }
//   for (int item : func1()) say(item);              // 1 3 4 2
//
// Stackful: a body may yield from any depth of calls, also from a callback of a C library. It runs
// as a part of the code that asks for the next item: getcurrent(), the current task and context
// variables are the caller's, and a body that switches or awaits suspends the caller.
//
// A handle is a counted reference. Dropping the last one to a suspended generator closes it; errors
// meanwhile go to the unraisable hook. A generator, with all its handles, belongs to the thread
// that made it: the count is not atomic. A thread that exits closes its suspended generators,
// newest first; handles that outlive the thread may be dropped anywhere once it has ended.
//
// The departure from Python: a generator has types. `None`, where no value was sent or returned, is
// a value-initialised Send or Return (use std::optional to tell it apart).
#pragma once

#include <fiber/exceptions.hpp>
#include <fiber/generator/object.hpp>
#include <fiber/generator/values.hpp>
#include <fiber/standard/ranges.hpp>
#include <fiber/value.hpp>
#include <fiber/core/take.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <initializer_list>
#include <iosfwd>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace fiber {

template <class Yield, class Send = void, class Return = void>
class Generator;

/// Thrown into a generator by close(). Not a std::exception, so that handlers of ordinary errors
/// let it pass; a body that catches it must not yield again.
class FIBER_API GeneratorExit : public BaseException {
 public:
  using BaseException::BaseException;
  ~GeneratorExit() override;
};

/// Thrown by next(), send() and throw_() when the body has ended. Copies share the value.
class FIBER_API StopIteration : public Exception {
 public:
  StopIteration() noexcept = default;
  explicit StopIteration(fiber::value returned);
  ~StopIteration() override;

  /// Returns the body's result, as exactly its Return type (a reference as std::reference_wrapper,
  /// a std::string_view or a pointer to characters as std::string); empty for Return = void, and
  /// for a generator that had ended before.
  fiber::value& value() const;

 private:
  mutable core::Ref<detail::SharedValue> value_;
};

/// Python: inspect.getgeneratorstate.
enum class GeneratorState : std::uint8_t {
  GEN_CREATED,    ///< waiting to start
  GEN_RUNNING,    ///< executing, or waiting for code that it executes
  GEN_SUSPENDED,  ///< at a yield
  GEN_CLOSED,     ///< ended
};
using enum GeneratorState;
FIBER_API std::ostream& operator<<(std::ostream& out, GeneratorState state);

/// Keyword arguments of Generator().
struct GeneratorOptions {
  std::string name = {};  ///< for messages and listings
  /// Bytes, rounded up to a power of two, 16 KiB at least; 0: stacks::default_size(), 256 KiB
  /// unless changed.
  std::size_t stack_size = 0;
  /// Bytes of the guard below the stack, rounded up to whole pages; 0:
  /// stacks::default_guard_size(), 68 KiB unless changed.
  std::size_t guard_size = 0;
};

/// A handle to a generator of any type; null if it refers to none. Identity, not value.
class FIBER_API GeneratorBase {
 public:
  GeneratorBase() noexcept = default;
  GeneratorBase(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)

  /// Python: inspect.getgeneratorstate(g).
  GeneratorState state() const;
  /// Returns the generator to which this suspended one delegates by yield_from; null if there is
  /// none, or this one is executing. Python: g.gi_yieldfrom.
  GeneratorBase yield_from_target() const;

  /// Returns the name, for messages and listings; "" if it has none. Python: g.__name__.
  std::string name() const;
  void name(std::string_view new_name) const;
  /// Returns the bytes of its stack touched so far, page-exact; 0 while it has none.
  std::size_t stack_used() const;

  explicit operator bool() const noexcept { return bool(object_); }
  friend bool operator==(const GeneratorBase& a, const GeneratorBase& b) noexcept = default;

  /// For the layers above.
  explicit GeneratorBase(detail::GeneratorObject* object) noexcept : object_(object) {}
  detail::GeneratorObject* object() const noexcept { return object_.get(); }

 protected:
  detail::GeneratorObject* checked() const {
    if (!object_) [[unlikely]]
      refuse_null();
    return object_.get();
  }
  [[noreturn]] static void refuse_null();

  core::Ref<detail::GeneratorObject> object_;
};

/// Returns Python's repr: "<generator 'name' at 0x7f… suspended>".
FIBER_API std::string repr(const GeneratorBase& generator);
FIBER_API std::ostream& operator<<(std::ostream& out, const GeneratorBase& generator);

/// Returns every generator of this thread that has started and not ended, oldest first.
FIBER_API std::vector<GeneratorBase> all_generators();

namespace detail {

[[noreturn]] FIBER_API void sent_to_range();
FIBER_API bool is_generator_exit(const std::exception_ptr& error) noexcept;

template <class Yield, class Send, class Return, class F>
class GeneratorBody;

}  // namespace detail

/// The body's view of its generator: the `self` in `[](auto& self) { self.yield(1); }`. Its
/// functions throw RuntimeError when they are not called on the generator's own stack, that is
/// outside of its body, after its end, in another greenlet or on another thread. It lives as long
/// as the generator. The body has no handle to the generator: code that keeps a GeneratorSelf
/// longer must keep a handle besides.
template <class Yield, class Send, class Return>
class GeneratorSelf : private detail::GeneratorObject {
  static_assert(!std::is_void_v<Yield>, "use std::monostate for items that carry nothing");
  using Pointee = std::remove_reference_t<Yield>;
  using Reference = detail::item_reference_t<Yield>;

 public:
  GeneratorSelf(const GeneratorSelf&) = delete;
  GeneratorSelf& operator=(const GeneratorSelf&) = delete;

  /// Hands one item over, suspends until the next item is requested, and returns the value from
  /// send() (Send() if there is none). Throws the exception from throw_(), and GeneratorExit when
  /// the generator is closed. The consumer sees the very object that is given here: no copy is
  /// made, but of an lvalue if items are not references (the consumer may move from its item).
  /// Python: yield item.
  FIBER_INLINE Send yield(Reference given) {
    suspend(detail::erase(given));
    return receive();
  }
  FIBER_INLINE Send yield(const Pointee& given)
    requires(!std::is_reference_v<Yield> && std::copy_constructible<Pointee>)
  {
    Yield copy(given);
    suspend(detail::erase(copy));
    return receive();
  }
  /// Hands over a value-initialised item. Python: yield.
  FIBER_INLINE Send yield()
    requires(!std::is_reference_v<Yield> && std::default_initializable<Yield>)
  {
    Yield nothing_said{};
    suspend(detail::erase(nothing_said));
    return receive();
  }

  /// Yields all items of `inner` and returns its result. `inner` is a generator (next(), send(),
  /// throw_() and close() reach it, the innermost one directly, however deep the delegation), or
  /// any range. Generators of other types do as well if their items convert; each level of those
  /// costs a switch of its own. Throws the exceptions of `inner`; ValueError (it is executing),
  /// AttributeError (a value was sent, and a range cannot take it). Python: yield from inner.
  template <class Inner>
  decltype(auto) yield_from(Inner&& inner) {
    using Plain = std::remove_cvref_t<Inner>;
    if constexpr (detail::is_generator<Plain>::value)
      return from_generator(Plain(std::forward<Inner>(inner)));
    else if constexpr (requires { yield_from_awaitable(std::forward<Inner>(inner)); })
      return yield_from_awaitable(std::forward<Inner>(inner));  // by ADL: the layers above
    else if constexpr (std::is_array_v<Plain> && std::same_as<std::remove_extent_t<Plain>, char>)
      return from_range(std::string_view(inner));
    else
      return from_range(std::forward<Inner>(inner));
  }
  /// Yields the items of a braced list.
  void yield_from(std::initializer_list<std::remove_cvref_t<Yield>> items) { from_range(items); }

  /// The generator's name.
  std::string name() const { return display_name(); }

 private:
  template <class, class, class>
  friend class Generator;
  template <class, class, class>
  friend class GeneratorSelf;
  template <class, class, class, class>
  friend class detail::GeneratorBody;

  GeneratorSelf() = default;

  static Reference item_at(void* place) noexcept {
    return static_cast<Reference>(*static_cast<Pointee*>(place));
  }

  FIBER_INLINE Send receive() {
    if constexpr (!std::is_void_v<Send>) {
      void* object = core::take(sent);
      if (object != nullptr)
        return static_cast<Send&&>(*static_cast<std::remove_reference_t<Send>*>(object));
      return nothing();
    }
  }
  static Send nothing() {
    if constexpr (std::is_default_constructible_v<Send>)
      return Send();
    else
      detail::nothing_sent(core::TypeOf<Send>::type);
  }

  /// Suspends with an item of a range or of an inner generator, converted if it must be.
  template <class Item>
  FIBER_INLINE void hand_on(Item&& given) {
    if constexpr (std::is_reference_v<Yield> || std::same_as<Item, Yield>) {
      Reference converted = static_cast<Item&&>(given);
      suspend(detail::erase(converted));
    } else {
      Yield converted = static_cast<Item&&>(given);
      suspend(detail::erase(converted));
    }
  }

  template <class Range>
  void from_range(Range&& range) {
    static_assert(std::ranges::input_range<Range>, "yield_from takes a generator or a range");
    try {
      for (auto&& each : range) {
        hand_on(std::forward<decltype(each)>(each));
        if constexpr (!std::is_void_v<Send>)
          if (sent != nullptr) [[unlikely]]
            detail::sent_to_range();
      }
    } catch (const StopIteration&) {
      // A GeneratorExit that was thrown in ends the delegation, as in CPython.
    }
  }

  template <class Y, class S, class R>
  R from_generator(Generator<Y, S, R> inner) {
    GeneratorSelf<Y, S, R>* self = inner.self();
    // A result in answer to being closed is dropped.
    const typename detail::ResultSlot<R>::Drop dropping(self->result_);
    try {
      if constexpr (detail::same_item<Y, Yield> && detail::same_sent<S, Send>)
        delegate_to(self);
      else
        forward(self);
    } catch (const StopIteration& stop) {
      // A StopIteration thrown into an inner generator that has ended is its result.
      self->result_.fill_from(stop.value());
    }
    return self->result_.take();
  }

  /// PEP 380's expansion of `yield from`, where items or sent values must be converted.
  template <class Y, class S, class R>
  void forward(GeneratorSelf<Y, S, R>* inner) {
    const Forwarding while_forwarding(*this, inner);
    bool more = inner->advance(nullptr);
    while (more) {
      std::exception_ptr thrown;
      {
        Yield converted = GeneratorSelf<Y, S, R>::item_at(inner->item);
        thrown = suspend_and_catch(detail::erase(converted));
      }
      if (thrown != nullptr) {
        if (detail::is_generator_exit(thrown)) {
          inner->close();
          std::rethrow_exception(std::move(thrown));
        }
        more = inner->throw_in(std::move(thrown));
        continue;
      }
      if constexpr (!std::is_void_v<S> && !std::is_void_v<Send>) {
        if (sent != nullptr) {
          S converted = receive();
          more = inner->advance(detail::erase(converted));
          continue;
        }
      }
      more = inner->advance(nullptr);
    }
  }

  detail::ResultSlot<Return> result_;
};

namespace detail {

template <class Yield, class Send, class Return, class F>
class GeneratorBody final : public GeneratorSelf<Yield, Send, Return> {
 public:
  template <class G>
  explicit GeneratorBody(G&& body) : body_(std::forward<G>(body)) {}

 private:
  void run_body() override {
    this->result_.fill(*body_, static_cast<GeneratorSelf<Yield, Send, Return>&>(*this));
  }
  void drop_body() noexcept override { body_.reset(); }

  std::optional<F> body_;
};

}  // namespace detail

/// A generator. Yield: the type of an item; a reference to hand out the body's own objects, any
/// other type to hand out objects that the consumer may move from (move-only types are allowed).
/// Send: the type of the value that send() sends, and yield() returns. Return: the type of the
/// body's result, which yield_from() returns and StopIteration carries.
///
/// Unless a function says otherwise, it throws the exceptions of the body; ValueError, "generator
/// already executing"; RuntimeError, on a thread that did not make the generator, or in place of a
/// StopIteration that escapes from the body; MemoryError, when there is no stack to start on;
/// ValueError, if the handle is null.
template <class Yield, class Send, class Return>
class Generator : public GeneratorBase {
 public:
  /// The type of a body's parameter, for bodies that do not use `auto`.
  using Self = GeneratorSelf<Yield, Send, Return>;
  class iterator;

  /// Makes a null handle.
  Generator() noexcept = default;
  Generator(std::nullptr_t) noexcept {}  // NOLINT(google-explicit-constructor)

  /// Makes a generator of `body`. No code runs, and no stack is taken, before the first item is
  /// requested. The body is called once, with its Self&, and destroyed when it ends.
  template <class F>
    requires(!std::derived_from<std::remove_cvref_t<F>, GeneratorBase> &&
             std::invocable<std::decay_t<F>&, Self&>)
  Generator(F&& body)  // NOLINT(google-explicit-constructor): a lambda is returned as a generator
      : Generator(new detail::GeneratorBody<Yield, Send, Return, std::decay_t<F>>(
            std::forward<F>(body))) {}
  template <class F>
    requires(!std::derived_from<std::remove_cvref_t<F>, GeneratorBase> &&
             std::invocable<std::decay_t<F>&, Self&>)
  Generator(F&& body, GeneratorOptions options) : Generator(std::forward<F>(body)) {
    object_->stack_shape = object_->stack_shape.with(options.stack_size, options.guard_size);
    if (!options.name.empty()) name(options.name);
  }

  /// Continues the body until its next item, and moves that item out (a reference Yield is returned
  /// as a reference, valid until the next request). Throws StopIteration at the end.
  FIBER_INLINE Yield next() const {
    const Asking asking(self());
    if (!asking.self->advance(nullptr)) [[unlikely]]
      stop(asking.self);
    return Self::item_at(asking.self->item);
  }
  /// Continues as next() does, but returns `otherwise` at the end. Python: next(g, default).
  Yield next(Yield otherwise) const {
    const Asking asking(self());
    if (asking.self->advance(nullptr)) return Self::item_at(asking.self->item);
    asking.self->result_.drop();
    return static_cast<Yield&&>(otherwise);
  }

  /// Continues as next() does, and makes the yield() in which the body is suspended return
  /// `object`. Throws TypeError if the body has not started yet, unless `object` is Python's None:
  /// an empty optional, a null pointer, an empty fiber::value, std::monostate.
  template <class Sent = Send>
    requires(!std::is_void_v<Sent>)
  FIBER_INLINE Yield send(std::type_identity_t<Sent> object) const {
    const Asking asking(self());
    void* place = detail::is_none(object) ? nullptr : detail::erase(object);
    if (!asking.self->advance(place)) [[unlikely]]
      stop(asking.self);
    return Self::item_at(asking.self->item);
  }
  /// Sends None: the same as next().
  FIBER_INLINE Yield send(std::nullopt_t = std::nullopt) const { return next(); }

  /// Throws into the body, where it is suspended, and goes on as next(). A generator that has not
  /// started, or has ended, is closed and throws the exception itself. Python: g.throw.
  Yield throw_(std::exception_ptr exception) const {
    const Asking asking(self());
    if (!asking.self->throw_in(std::move(exception))) stop(asking.self);
    return Self::item_at(asking.self->item);
  }
  template <class E>
    requires(!std::convertible_to<E, std::exception_ptr>)
  Yield throw_(E&& exception) const {
    return throw_(std::make_exception_ptr(std::forward<E>(exception)));
  }

  /// Throws GeneratorExit into the body, where it is suspended, so that it ends. Returns the body's
  /// result, if it has one (std::optional<Return>; void for Return = void). Does nothing to a
  /// generator that has ended. Throws RuntimeError if the body yields instead: "generator ignored
  /// GeneratorExit"; it stays suspended in that case.
  auto close() const {
    const Asking asking(self());
    asking.self->close();
    return asking.self->result_.take_optional();
  }

  /// Makes the generator an input range. begin() requests the next item, as every `for` in Python
  /// does: another loop continues where a loop was left. The body's result is dropped at the end of
  /// a loop.
  iterator begin() const { return iterator(*this); }
  /// The end of the loop: the body has ended.
  static constexpr std::default_sentinel_t end() noexcept { return std::default_sentinel; }

 private:
  template <class, class, class>
  friend class GeneratorSelf;

  /// Keeps the generator alive during a request: its body may drop the handle, or the iterator.
  struct Asking {
    explicit Asking(Self* asked) noexcept : self(asked) { ++self->refs; }
    Asking(const Asking&) = delete;
    Asking& operator=(const Asking&) = delete;
    ~Asking() { self->release(); }
    Self* self;
  };

  explicit Generator(Self* fresh) noexcept {
    object_ = core::Ref<detail::GeneratorObject>::adopt(fresh);
  }
  Self* self() const { return static_cast<Self*>(checked()); }
  [[noreturn]] static void stop(Self* self) { throw StopIteration(self->result_.as_value()); }
};

/// An iterator keeps its generator. Copies share the position, which is the generator's. * is the
/// item itself, which lives until the next item is requested, by any code. ++ throws the exceptions
/// of the body; the iterator is at the end then.
template <class Yield, class Send, class Return>
class Generator<Yield, Send, Return>::iterator {
 public:
  using iterator_concept = std::input_iterator_tag;
  using value_type = std::remove_cvref_t<Yield>;
  using difference_type = std::ptrdiff_t;

  iterator() noexcept = default;
  iterator(const iterator&) noexcept = default;  ///< moving is copying: never empty
  iterator& operator=(const iterator&) noexcept = default;

  detail::item_reference_t<Yield> operator*() const noexcept {
    return Self::item_at(generator_.object()->item);
  }
  FIBER_INLINE iterator& operator++() {
    const Asking asking(static_cast<Self*>(generator_.object()));
    if (!asking.self->advance(nullptr)) [[unlikely]]
      asking.self->result_.drop();
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept {
    return i.generator_.object()->item == nullptr;
  }

 private:
  friend class Generator;
  explicit iterator(const Generator& generator) : generator_(generator) {
    generator_.self();
    ++*this;
  }

  Generator generator_;
};

}  // namespace fiber

/// \cond
template <class Yield, class Send, class Return>
inline constexpr bool std::ranges::enable_view<fiber::Generator<Yield, Send, Return>> = true;
template <class Yield, class Send, class Return>
inline constexpr bool std::ranges::enable_borrowed_range<fiber::Generator<Yield, Send, Return>> =
    true;
/// \endcond

template <>
struct std::hash<fiber::GeneratorBase> {
  std::size_t operator()(const fiber::GeneratorBase& generator) const noexcept {
    return std::hash<const void*>()(generator.object());
  }
};
