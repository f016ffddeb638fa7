// The type of a value, without the language's run-time type information (RTTI): programs that are
// compiled with -fno-rtti send values, too, also to code that is compiled with RTTI.
#pragma once

#include <fiber/config.hpp>
#include <fiber/demangle.hpp>

#include <string>
#include <string_view>
#include <typeinfo>

namespace fiber::core {

struct Type {
  std::string (*name)();       // readable, for messages
  std::string_view signature;  // the compiler's, which contains the name
};

#if defined(__cpp_rtti) || defined(__GXX_RTTI)
inline constexpr bool kHasRtti = true;
#else
inline constexpr bool kHasRtti = false;
#endif

template <class T>
constexpr std::string_view signature_of() noexcept {
  return __PRETTY_FUNCTION__;
}
// Returns the type's name in a result of signature_of.
FIBER_API std::string name_in_signature(std::string_view signature);

// One function with RTTI and one without: under a common name the linker would keep only one.
template <class T, bool rtti = kHasRtti>
std::string type_name() {
#if defined(__cpp_rtti) || defined(__GXX_RTTI)
  return demangle(typeid(T));
#else
  return name_in_signature(signature_of<T>());
#endif
}

template <class T>
struct FIBER_API TypeOf {
  static constexpr Type type{&type_name<T>, signature_of<T>()};
};

FIBER_API bool same_signature(const Type& a, const Type& b) noexcept;
// Returns whether two types are equal. Shared objects that hide their symbols have a TypeOf each:
// then names decide, except for types that share a name with others (lambdas, unnamed namespaces).
inline bool same_type(const Type& a, const Type& b) noexcept {
  return &a == &b || same_signature(a, b);
}

}  // namespace fiber::core
