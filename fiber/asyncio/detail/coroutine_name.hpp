// The name of a coroutine in reports. Making one costs two constants: the text is composed when it
// is read.
#pragma once

#include <fiber/config.hpp>
#include <fiber/standard.hpp>
#include <fiber/core/type.hpp>

#include <cstdint>
#include <string>
#include <type_traits>
#include <typeinfo>

namespace fiber::asyncio::detail {

struct CoroutineName {
  enum class Kind : std::uint8_t {
    text,       // the text itself
    type,       // the mangled name of a callable's type: "main::{lambda()#1}"
    function,   // the address of a function, to be found in the symbol table
    signature,  // core::signature_of a callable's type, in code without run-time type information
  };

  constexpr CoroutineName(const char* text) noexcept : data(text) {}  // NOLINT: a literal is a name
  constexpr CoroutineName(const void* its_data, Kind its_kind) noexcept
      : data(its_data), kind(its_kind) {}

  // Returns a readable text. A lambda is named after the function in which it is written.
  FIBER_API std::string str() const;

  const void* data;
  Kind kind = Kind::text;
};

// Names a callable by its type; specialised where a value tells more.
template <class F>
struct Naming {
  static CoroutineName of(const F& function) noexcept {
    if constexpr (std::is_pointer_v<F> && std::is_function_v<std::remove_pointer_t<F>>)
      return {reinterpret_cast<const void*>(function), CoroutineName::Kind::function};
    else
#if defined(__cpp_rtti) || defined(__GXX_RTTI)
      return {typeid(F).name(), CoroutineName::Kind::type};
#else
      return {core::signature_of<F>().data(), CoroutineName::Kind::signature};
#endif
  }
};
template <class F>
CoroutineName name_of(const std::decay_t<F>& function) noexcept {
  return Naming<std::decay_t<F>>::of(function);
}
#if defined(__cpp_rtti) || defined(__GXX_RTTI)
template <class Signature>
struct Naming<std::function<Signature>> {
  static CoroutineName of(const std::function<Signature>& function) noexcept {
    return {function.target_type().name(), CoroutineName::Kind::type};
  }
};
#endif
template <class F>
struct Naming<std::reference_wrapper<F>> {
  static CoroutineName of(const std::reference_wrapper<F>& function) noexcept {
    return name_of<F>(function.get());
  }
};

// Returns the callable in the symbol of the library's function that calls it, where the callable's
// code may have been inlined: "main::{lambda()#1}". "" for any other symbol.
std::string callable_in(const std::string& symbol);

}  // namespace fiber::asyncio::detail
