// Readable type names for error messages.
#pragma once

#include <fiber/config.hpp>

#include <string>
#include <typeinfo>

namespace fiber::core {

FIBER_API std::string demangle(const char* mangled);
inline std::string demangle(const std::type_info& type) { return demangle(type.name()); }

}  // namespace fiber::core
