// Several errors thrown as one. Python: ExceptionGroup, BaseExceptionGroup, except*.
//
// An ExceptionGroup holds only errors that derive from std::exception, and is an Exception itself:
// `catch (const std::exception&)` catches it. Groups that hold any other error, such as a
// KeyboardInterrupt, are BaseExceptionGroups, which that handler lets pass. In Python
// ExceptionGroup derives from BaseExceptionGroup; here both have a common base that is no
// exception, so that a handler of BaseException does not get errors that ordinary code may handle:
//
//   catch (const AnyExceptionGroup& group)     // Python: except BaseExceptionGroup as group
#pragma once

#include <fiber/standard.hpp>
#include <fiber/exceptions.hpp>
#include <fiber/exceptions/is_exception.hpp>

#include <cstddef>
#include <exception>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace fiber {

/// The common part of both kinds of group. Copying shares the contents and never throws.
class FIBER_API AnyExceptionGroup : public detail::CompoundException {
 public:
  /// The two parts that split() returns.
  struct Split {
    std::exception_ptr
        matching;             ///< groups of the same shape with some of the errors; null if none
    std::exception_ptr rest;  ///< groups with the other errors; null if all match
  };

  ~AnyExceptionGroup() override;

  /// The message and the errors with which the group was made. Python: group.message,
  /// group.exceptions.
  const std::string& message() const noexcept { return contents_->message; }
  /// Returns at least one error, none of them null; errors of nested groups are inside of these.
  const std::vector<std::exception_ptr>& exceptions() const noexcept override {
    return contents_->exceptions;
  }

  /// Returns the errors for which `matches(error)` is true, in groups nested as they were, or null.
  /// `matches` is called for this group first, then for nested ones: a group that matches is taken
  /// whole.
  std::exception_ptr subgroup(const std::function<bool(const std::exception_ptr&)>& matches) const;
  /// Returns the matching errors as subgroup() does, and the other ones.
  Split split(const std::function<bool(const std::exception_ptr&)>& matches) const;
  /// Returns the errors that are of one of these types, as subgroup() does.
  template <class... E>
    requires(sizeof...(E) > 0)
  std::exception_ptr subgroup() const;
  /// Returns the errors that are of one of these types, as subgroup() does, and the other ones.
  template <class... E>
    requires(sizeof...(E) > 0)
  Split split() const;

  /// Returns Python's str: "message (2 sub-exceptions)". what() goes on with the errors, and the
  /// causes from which they were thrown: "message (2 sub-exceptions): ValueError: a; OSError: b
  /// (from KeyError: c)". The errors take 2 KiB there at most, and end in "..." if they are longer:
  /// format_exception() tells more.
  std::string str() const override;
  /// Returns Python's repr: "ExceptionGroup('message', [ValueError('a'), KeyError('b')])".
  std::string repr() const override;

 protected:
  AnyExceptionGroup(std::string message, std::vector<std::exception_ptr> exceptions);
  AnyExceptionGroup(const AnyExceptionGroup&) noexcept = default;
  AnyExceptionGroup& operator=(const AnyExceptionGroup&) noexcept = default;

 private:
  virtual const char* class_name() const noexcept = 0;
  virtual std::exception_ptr pointer() const = 0;  ///< to a copy

  struct Contents {
    std::string message;
    std::vector<std::exception_ptr> exceptions;
    Contents* next = nullptr;  ///< to be destroyed after this one
    static void destroy(Contents* contents) noexcept;
  };
  std::shared_ptr<const Contents> contents_;
};

/// A group of ordinary errors. Throws ValueError for no errors and for null pointers, TypeError for
/// errors that do not derive from std::exception.
class FIBER_API ExceptionGroup : public Exception, public AnyExceptionGroup {
 public:
  ExceptionGroup(std::string message, std::vector<std::exception_ptr> exceptions);
  ExceptionGroup(const ExceptionGroup&) noexcept = default;
  ExceptionGroup& operator=(const ExceptionGroup&) noexcept = default;
  ~ExceptionGroup() override;

 private:
  const char* class_name() const noexcept override { return "ExceptionGroup"; }
  std::exception_ptr pointer() const override { return std::make_exception_ptr(*this); }
};

/// A group of any exceptions. Throws ValueError for no errors and for null pointers.
class FIBER_API BaseExceptionGroup : public BaseException, public AnyExceptionGroup {
 public:
  BaseExceptionGroup(std::string message, std::vector<std::exception_ptr> exceptions);
  BaseExceptionGroup(const BaseExceptionGroup&) noexcept = default;
  BaseExceptionGroup& operator=(const BaseExceptionGroup&) noexcept = default;
  ~BaseExceptionGroup() override;

 private:
  const char* class_name() const noexcept override { return "BaseExceptionGroup"; }
  std::exception_ptr pointer() const override { return std::make_exception_ptr(*this); }
};

/// Returns an ExceptionGroup if all errors are ordinary ones, else a BaseExceptionGroup, as
/// Python's BaseExceptionGroup(...) does. Throws ValueError for no errors and for null pointers.
FIBER_API std::exception_ptr make_exception_group(std::string message,
                                                  std::vector<std::exception_ptr> exceptions);

template <class... E>
  requires(sizeof...(E) > 0)
std::exception_ptr AnyExceptionGroup::subgroup() const {
  return subgroup([](const std::exception_ptr& error) { return (... || is_exception<E>(error)); });
}
template <class... E>
  requires(sizeof...(E) > 0)
AnyExceptionGroup::Split AnyExceptionGroup::split() const {
  return split([](const std::exception_ptr& error) { return (... || is_exception<E>(error)); });
}

// --- except* ------------------------------------------------------------------------------------

namespace detail {
/// Appends the errors in a group and in groups inside of it, in order.
FIBER_API void collect_errors(const AnyExceptionGroup& group, std::vector<std::exception_ptr>& to);
}  // namespace detail

/// The parameter of an except_star handler that takes its errors together: a range of them, and the
/// group that they make. Lives as long as the handler runs.
template <class E>
class errors_of {
 public:
  explicit errors_of(const AnyExceptionGroup& their_group) : group(their_group) {
    std::vector<std::exception_ptr> pointers;
    detail::collect_errors(group, pointers);
    for (const std::exception_ptr& pointer : pointers) {
      try {
        std::rethrow_exception(pointer);
      } catch (const E& error) {
        errors_.push_back(std::cref(error));  // the group keeps it
      }
    }
  }

  const AnyExceptionGroup& group;  ///< the caught errors in a group of the shape that they had

  /// Iterates over the errors as `const E&`, in their order.
  auto begin() const noexcept { return errors_.begin(); }
  auto end() const noexcept { return errors_.end(); }  ///< behind the last error
  /// The number of errors, those of nested groups included.
  std::size_t size() const noexcept { return errors_.size(); }

 private:
  std::vector<std::reference_wrapper<const E>> errors_;
};

namespace detail {

/// \cond
template <class H>
struct HandlerParameter : HandlerParameter<decltype(&H::operator())> {};
template <class R, class A>
struct HandlerParameter<R (*)(A)> {
  using type = std::remove_cvref_t<A>;
};
template <class R, class C, class A>
struct HandlerParameter<R (C::*)(A)> : HandlerParameter<R (*)(A)> {};
template <class R, class C, class A>
struct HandlerParameter<R (C::*)(A) const> : HandlerParameter<R (*)(A)> {};
/// \endcond

/// Describes how the errors of type E reach a handler.
template <class P>
struct HandlerKind {
  using error = P;
  template <class H>
  static void call(H& handler, const AnyExceptionGroup&, const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const P& e) {
      handler(e);
    }
  }
  static constexpr bool kTogether = false;
};
template <class E>
struct HandlerKind<errors_of<E>> {
  using error = E;
  template <class H>
  static void call(H& handler, const AnyExceptionGroup& group, const std::exception_ptr&) {
    handler(errors_of<E>(group));
  }
  static constexpr bool kTogether = true;
};

/// The error to handle, and the errors that the handlers throw meanwhile.
class FIBER_API ExceptStar {
 public:
  explicit ExceptStar(std::exception_ptr error);

  /// Gives the matching part to `handle(group, error)`: once for all of it, or once for each error.
  void clause(
      const std::function<bool(const std::exception_ptr&)>& matches, bool together,
      const std::function<void(const AnyExceptionGroup&, const std::exception_ptr&)>& handle);
  /// Throws the errors that are left.
  void end();

 private:
  void run(const std::function<void()>& handle, const std::exception_ptr& given);

  std::exception_ptr original_;
  std::exception_ptr rest_;  ///< of the original, or of a group around it
  bool naked_ = false;
  std::vector<std::exception_ptr> kept_;    ///< parts that handlers threw again unchanged
  std::vector<std::exception_ptr> raised_;  ///< other errors that handlers threw
};

}  // namespace detail

/// Python's except*: gives each part of a group (or an error that is no group) to the first handler
/// for it, and throws the rest, in the shape of the group. A handler takes either all errors of one
/// type together, or each error by itself:
///
///   try {
///     ...
///   } catch (...) {
///     fiber::except_star(
///         [](fiber::errors_of<ValueError> errors) {      // except* ValueError as errors
///           for (const ValueError& error : errors) show(error);
///         },
///         [](const OSError& error) { show(error); });    // each OSError in turn
///   }
///
/// A handler may `throw;` its part again. Any other error that handlers throw is thrown at the end,
/// in a group with the rest. Without an error as first argument the function takes the error being
/// handled, and throws RuntimeError where there is none.
template <class... H>
void except_star(std::exception_ptr error, H&&... handlers) {
  detail::ExceptStar all(std::move(error));
  const auto clause = [&all]<class Handler>(Handler& handler) {
    using Kind = detail::HandlerKind<typename detail::HandlerParameter<Handler>::type>;
    using Error = typename Kind::error;
    static_assert(!std::is_base_of_v<AnyExceptionGroup, Error>,
                  "except_star takes groups apart: its handlers are for what is inside");
    all.clause([](const std::exception_ptr& e) { return is_exception<Error>(e); }, Kind::kTogether,
               [&handler](const AnyExceptionGroup& group, const std::exception_ptr& e) {
                 Kind::call(handler, group, e);
               });
  };
  (clause(handlers), ...);
  all.end();
}
template <class First, class... H>
  requires(!std::convertible_to<First, std::exception_ptr>)
void except_star(First&& first, H&&... handlers) {
  except_star(std::current_exception(), std::forward<First>(first), std::forward<H>(handlers)...);
}

}  // namespace fiber
