// Readable type names for error messages.
#pragma once

#include <fiber/config.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <typeinfo>

namespace fiber::core {

FIBER_API std::string demangle(const char* mangled);
inline std::string demangle(const std::type_info& type) { return demangle(type.name()); }

/// Replaces each `from` in a text about types by `to`.
void replace_all(std::string& text, std::string_view from, std::string_view to);

/// Calls function(argument) where at least `bytes` of stack are left.
using RoomGiver = void (*)(void (*function)(void* argument), void* argument, std::size_t bytes);
/// Sets the function that gives room; the layer with small stacks calls this. Until then demangling
/// runs in place.
FIBER_API void demangle_with_room(RoomGiver giver) noexcept;

}  // namespace fiber::core
