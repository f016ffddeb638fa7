#include <fiber/generator.hpp>

#include <fiber/exceptions/is_exception.hpp>
#include <fiber/exceptions/repr.hpp>

#include <exception>
#include <ostream>

namespace fiber {

GeneratorExit::~GeneratorExit() = default;
StopIteration::~StopIteration() = default;

StopIteration::StopIteration(fiber::value returned)
    : value_(new detail::SharedValue(std::move(returned))) {}

fiber::value& StopIteration::value() const {
  if (value_ == nullptr) value_ = core::Ref(new detail::SharedValue({}));
  return value_->held;
}

namespace {

const char* state_name(GeneratorState state) noexcept {
  switch (state) {
    case GEN_CREATED: return "GEN_CREATED";
    case GEN_RUNNING: return "GEN_RUNNING";
    case GEN_SUSPENDED: return "GEN_SUSPENDED";
    case GEN_CLOSED: return "GEN_CLOSED";
  }
  return "";
}

GeneratorState state_of(const detail::GeneratorObject& object) noexcept {
  switch (object.phase) {
    case detail::GeneratorObject::Phase::created: return GEN_CREATED;
    case detail::GeneratorObject::Phase::closed: return GEN_CLOSED;
    case detail::GeneratorObject::Phase::started: break;
  }
  return object.executing() ? GEN_RUNNING : GEN_SUSPENDED;
}

std::string describe(const detail::GeneratorObject& object) {
  std::string text = "<generator ";
  if (object.name != nullptr) text += detail::quoted(*object.name) + " ";
  text += "at " + detail::address_repr(&object);
  switch (state_of(object)) {
    case GEN_CREATED: text += " created"; break;
    case GEN_RUNNING: text += " running"; break;
    case GEN_SUSPENDED: text += " suspended"; break;
    case GEN_CLOSED: text += " closed"; break;
  }
  return text + ">";
}

}  // namespace

namespace detail {

bool is_generator_exit(const std::exception_ptr& error) noexcept {
  return is_exception<GeneratorExit>(error);
}

void nothing_sent(const core::Type& wanted) {
  throw TypeError("a value of type '" + wanted.name() +
                  "' was expected at a yield, but nothing was sent");
}

void nothing_returned(const core::Type& wanted) {
  throw RuntimeError("yield_from an exhausted generator: it has no value of type '" +
                     wanted.name() + "' to return");
}

void nothing_keeps_text(const core::Type& wanted) {
  throw TypeError("yield_from cannot return the text of the StopIteration that was thrown in as '" +
                  wanted.name() + "', since the text ends with the exception: return std::string");
}

void sent_to_range() {
  throw AttributeError(
      "a value was sent to a generator that yields from a range: "
      "a range has no send()");
}

}  // namespace detail

std::ostream& operator<<(std::ostream& out, GeneratorState state) {
  return out << state_name(state);
}

void GeneratorBase::refuse_null() {
  throw ValueError("this generator handle is null: it was made without a body, or moved from");
}

GeneratorState GeneratorBase::state() const { return state_of(*checked()); }

GeneratorBase GeneratorBase::yield_from_target() const {
  const detail::GeneratorObject* object = checked();
  if (object->executing()) return nullptr;
  return GeneratorBase(object->delegate != nullptr ? object->delegate : object->forwarding);
}

std::string GeneratorBase::name() const { return checked()->display_name(); }

void GeneratorBase::name(std::string_view new_name) const {
  checked()->name = core::Owner(new std::string(new_name));
}

std::size_t GeneratorBase::stack_used() const { return core::stack_used(checked()->stack); }

std::string repr(const GeneratorBase& generator) {
  return generator ? describe(*generator.object()) : "<generator null>";
}

std::ostream& operator<<(std::ostream& out, const GeneratorBase& generator) {
  return out << repr(generator);
}

std::vector<GeneratorBase> all_generators() {
  std::vector<GeneratorBase> found;
  for (detail::GeneratorObject& each : detail::GeneratorObject::all_started())
    found.emplace_back(&each);
  return {std::make_move_iterator(found.rbegin()), std::make_move_iterator(found.rend())};
}

}  // namespace fiber
