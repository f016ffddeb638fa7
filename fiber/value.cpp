#include <fiber/value.hpp>

namespace fiber::detail {

void throw_wrong_type(const core::Type* held, const core::Type& wanted) {
  throw TypeError(
      "a value of type '" + wanted.name() + "' was expected, but " +
      (held != nullptr ? "one of type '" + held->name() + "' was sent" : "nothing was sent"));
}

}  // namespace fiber::detail
