#include <fiber/value.hpp>

#include <fiber/core/demangle.hpp>

namespace fiber::detail {

void throw_wrong_type(const std::type_info* held, const std::type_info& wanted) {
  throw TypeError("a value of type '" + core::demangle(wanted) + "' was expected, but " +
                  (held != nullptr ? "one of type '" + core::demangle(*held) + "' was sent"
                                   : "nothing was sent"));
}

}  // namespace fiber::detail
