#include <fiber/exceptiongroup.hpp>

#include <fiber/cxxabi.hpp>

#include <algorithm>
#include <cstring>
#include <unordered_set>
#include <utility>

namespace fiber {
namespace {

using Errors = std::vector<std::exception_ptr>;
using Matches = std::function<bool(const std::exception_ptr&)>;

// Returns the group to which `error` points, which keeps it; null if it is no group.
const AnyExceptionGroup* as_group(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const AnyExceptionGroup& group) {
    return &group;
  } catch (...) {
    return nullptr;
  }
}

std::string sub_exceptions(std::size_t count) {
  return " (" + std::to_string(count) + (count == 1 ? " sub-exception)" : " sub-exceptions)");
}

// An exception of the user's may have none.
const char* text_or_none(const char* text) noexcept { return text != nullptr ? text : ""; }

// Returns a text: "ValueError: text (from KeyError: text)"; for a group, its errors as well.
std::string told(const std::exception_ptr& error) {
  constexpr std::size_t kMostCauses = 15;
  std::string text;
  std::exception_ptr at = error;
  std::size_t causes = 0;
  for (; at != nullptr && causes < kMostCauses; ++causes) {
    std::string what = str(at);
    std::exception_ptr cause;
    const std::string type = type_name(at);
    try {
      std::rethrow_exception(std::exchange(at, nullptr));
    } catch (const std::nested_exception& nested) {
      cause = nested.nested_ptr();
      if (const auto* e = dynamic_cast<const std::exception*>(&nested))
        what = text_or_none(e->what());
      else if (const auto* base = dynamic_cast<const BaseException*>(&nested))
        what = base->what();
    } catch (const std::exception& e) {
      what = text_or_none(e.what());
    } catch (const BaseException& e) {
      what = e.what();
    } catch (...) {
      // A foreign exception: nothing more is known of it.
    }
    text += (causes == 0 ? "" : " (from ") + type + (what.empty() ? "" : ": " + what);
    at = std::move(cause);
  }
  text.append(causes == 0 ? 0 : causes - 1, ')');
  return text;
}

// Cuts a text where a character begins, if it is longer.
void shorten(std::string& text, std::size_t most) {
  if (text.size() <= most) return;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0U) == 0x80) --most;
  text.resize(most);
  text += "...";
}

// Each group keeps its text, which contains the texts of the groups in it: without a bound, the
// texts of nested groups together would grow with the square of their depth.
std::string what_of(const std::string& message, const Errors& errors) {
  constexpr std::size_t kMost = 15;
  constexpr std::size_t kMostBytes = 2048;
  std::string list;
  for (std::size_t i = 0; i < errors.size() && i < kMost && list.size() <= kMostBytes; ++i)
    list += (i == 0 ? "" : "; ") + told(errors[i]);
  if (errors.size() > kMost) list += "; and " + std::to_string(errors.size() - kMost) + " more";
  shorten(list, kMostBytes);
  return message + sub_exceptions(errors.size()) + ": " + list;
}

std::exception_ptr group_of(const std::string& message, Errors errors) {
  return errors.empty() ? nullptr : make_exception_group(message, std::move(errors));
}

// A group whose errors are looked at one after the other. The walks below keep a list of these:
// groups may be nested deeper than a stack is.
class Level {
 public:
  explicit Level(const AnyExceptionGroup& its_group) noexcept : group(&its_group) {}
  // Returns the next error, null at the end.
  const std::exception_ptr* next() noexcept {
    const Errors& errors = group->exceptions();
    return at_ == errors.size() ? nullptr : &errors[at_++];
  }
  bool at_first() const noexcept { return at_ == 1; }

  const AnyExceptionGroup* group;
  Errors matching;
  Errors rest;

 private:
  std::size_t at_ = 0;
};
using Levels = std::vector<Level>;

void split_errors(const AnyExceptionGroup& group, const Matches& matches,
                  AnyExceptionGroup::Split& parts) {
  Levels levels{Level(group)};
  while (!levels.empty()) {
    Level& level = levels.back();
    if (const std::exception_ptr* error = level.next()) {
      if (matches(*error))
        level.matching.push_back(*error);
      else if (const AnyExceptionGroup* nested = as_group(*error))
        levels.emplace_back(*nested);
      else
        level.rest.push_back(*error);
      continue;
    }
    const std::string& message = level.group->message();
    parts.matching = group_of(message, std::move(level.matching));
    parts.rest = group_of(message, std::move(level.rest));
    levels.pop_back();
    if (levels.empty()) return;
    if (parts.matching) levels.back().matching.push_back(std::move(parts.matching));
    if (parts.rest) levels.back().rest.push_back(std::move(parts.rest));
  }
}

// Returns the address of the exception, which is all that a pointer to it consists of: pointers can
// only be compared, which for a set of them is too little.
const void* identity(const std::exception_ptr& error) noexcept {
  static_assert(sizeof(std::exception_ptr) == sizeof(void*));
  const void* address = nullptr;
  std::memcpy(&address, &error, sizeof address);
  return address;
}

bool all_ordinary(const Errors& errors) {
  return std::all_of(errors.begin(), errors.end(), is_exception<std::exception>);
}

}  // namespace

AnyExceptionGroup::AnyExceptionGroup(std::string message, Errors exceptions) {
  if (exceptions.empty())
    throw ValueError("second argument (exceptions) must be a non-empty sequence");
  for (std::size_t i = 0; i < exceptions.size(); ++i)
    if (!exceptions[i])
      throw ValueError("Item " + std::to_string(i) +
                       " of second argument (exceptions) is not an exception");
  contents_ = std::shared_ptr<const Contents>(
      new Contents{.message = std::move(message), .exceptions = std::move(exceptions)},
      Contents::destroy);
}

AnyExceptionGroup::~AnyExceptionGroup() = default;

// Groups in groups are destroyed one after the other, not each inside of the one around it: a tree
// of tasks may nest them deeper than a stack is.
void AnyExceptionGroup::Contents::destroy(Contents* contents) noexcept {
  static thread_local Contents* waiting = nullptr;
  static thread_local bool destroying = false;
  contents->next = std::exchange(waiting, contents);
  if (destroying) return;
  destroying = true;
  while (Contents* const first = waiting) {
    waiting = first->next;
    delete first;
  }
  destroying = false;
}

AnyExceptionGroup::Split AnyExceptionGroup::split(const Matches& matches) const {
  Split parts;
  std::exception_ptr self = pointer();
  if (matches(self))
    parts.matching = std::move(self);
  else
    split_errors(*this, matches, parts);
  return parts;
}

std::exception_ptr AnyExceptionGroup::subgroup(const Matches& matches) const {
  return split(matches).matching;
}

std::string AnyExceptionGroup::str() const {
  return message() + sub_exceptions(exceptions().size());
}

std::string AnyExceptionGroup::repr() const {
  std::string text;
  Levels levels;
  const auto open = [&](const AnyExceptionGroup& group) {
    text += std::string(group.class_name()) + "(" + detail::quoted(group.message()) + ", [";
    levels.emplace_back(group);
  };
  open(*this);
  while (!levels.empty()) {
    const std::exception_ptr* error = levels.back().next();
    if (error == nullptr) {
      text += "])";
      levels.pop_back();
      continue;
    }
    if (!levels.back().at_first()) text += ", ";
    if (const AnyExceptionGroup* nested = as_group(*error))
      open(*nested);
    else
      text += fiber::repr(*error);
  }
  return text;
}

ExceptionGroup::ExceptionGroup(std::string message, Errors exceptions)
    : Exception(what_of(message, exceptions)),
      AnyExceptionGroup(std::move(message), std::move(exceptions)) {
  if (!all_ordinary(this->exceptions()))
    throw TypeError("Cannot nest BaseExceptions in an ExceptionGroup");
}
ExceptionGroup::~ExceptionGroup() = default;

BaseExceptionGroup::BaseExceptionGroup(std::string message, Errors exceptions)
    : BaseException(what_of(message, exceptions)),
      AnyExceptionGroup(std::move(message), std::move(exceptions)) {}
BaseExceptionGroup::~BaseExceptionGroup() = default;

std::exception_ptr make_exception_group(std::string message, Errors exceptions) {
  if (std::find(exceptions.begin(), exceptions.end(), nullptr) == exceptions.end() &&
      all_ordinary(exceptions))
    return std::make_exception_ptr(ExceptionGroup(std::move(message), std::move(exceptions)));
  return std::make_exception_ptr(BaseExceptionGroup(std::move(message), std::move(exceptions)));
}

// --- except* ------------------------------------------------------------------------------------

namespace detail {

void collect_errors(const AnyExceptionGroup& group, Errors& to) {
  Levels levels{Level(group)};
  while (!levels.empty()) {
    const std::exception_ptr* error = levels.back().next();
    if (error == nullptr)
      levels.pop_back();
    else if (const AnyExceptionGroup* nested = as_group(*error))
      levels.emplace_back(*nested);
    else
      to.push_back(*error);
  }
}

ExceptStar::ExceptStar(std::exception_ptr error) : original_(std::move(error)) {
  if (!original_) throw RuntimeError("except_star was called without an error to handle");
  naked_ = as_group(original_) == nullptr;
  rest_ = naked_ ? make_exception_group("", {original_}) : original_;
}

void ExceptStar::clause(
    const Matches& matches, bool together,
    const std::function<void(const AnyExceptionGroup&, const std::exception_ptr&)>& handle) {
  if (!rest_) return;
  AnyExceptionGroup::Split parts;
  split_errors(*as_group(rest_), matches, parts);
  rest_ = parts.rest;
  if (!parts.matching) return;
  const AnyExceptionGroup& group = *as_group(parts.matching);
  if (together) {
    run([&] { handle(group, parts.matching); }, parts.matching);
    return;
  }
  Errors errors;
  collect_errors(group, errors);
  for (const std::exception_ptr& error : errors) run([&] { handle(group, error); }, error);
}

// Runs a handler. Meanwhile `given` is the exception being handled.
void ExceptStar::run(const std::function<void()>& handle, const std::exception_ptr& given) {
  try {
    try {
      std::rethrow_exception(given);
    } catch (...) {
      handle();
    }
  } catch (const detail::forced_unwind&) {
    throw;
  } catch (...) {
    const std::exception_ptr thrown = std::current_exception();
    (thrown == given ? kept_ : raised_).push_back(thrown);
  }
}

void ExceptStar::end() {
  if (naked_) {
    if (!raised_.empty()) std::rethrow_exception(raised_.front());
    if (!kept_.empty()) std::rethrow_exception(kept_.front());
    if (rest_) std::rethrow_exception(original_);
    return;
  }
  std::exception_ptr left = rest_;
  if (!kept_.empty()) {
    // The errors that were thrown again and those that no handler took, in the shape of the
    // original.
    Errors errors;
    if (rest_) collect_errors(*as_group(rest_), errors);
    for (const std::exception_ptr& part : kept_) {
      if (const AnyExceptionGroup* group = as_group(part))
        collect_errors(*group, errors);
      else
        errors.push_back(part);
    }
    std::unordered_set<const void*> remaining;
    for (const std::exception_ptr& error : errors) remaining.insert(identity(error));
    AnyExceptionGroup::Split parts;
    split_errors(
        *as_group(original_),
        [&](const std::exception_ptr& error) { return remaining.contains(identity(error)); },
        parts);
    left = parts.matching;
  }
  if (raised_.empty()) {
    if (left) std::rethrow_exception(left);
    return;
  }
  if (left) raised_.push_back(left);
  if (raised_.size() == 1) std::rethrow_exception(raised_.front());
  std::rethrow_exception(make_exception_group("", raised_));
}

}  // namespace detail
}  // namespace fiber
