// <cxxabi.h>, and the parts that only GCC's has: the record of exceptions, which LLVM's runtime
// keeps in the same layout without a declaration, and the type of forced unwinding (pthread_exit,
// pthread_cancel).
#pragma once

#include <exception>

#include <cxxabi.h>

namespace fiber::detail {

#if defined(__GLIBCXX__)
using forced_unwind = abi::__forced_unwind;
inline void* exception_globals() noexcept { return abi::__cxa_get_globals(); }
#else
// Never thrown: with LLVM's runtime no handler sees forced unwinding, not even `catch (...)`.
class forced_unwind {
  forced_unwind() = delete;
};
extern "C" void* fiber_cxa_get_globals() asm("__cxa_get_globals");
inline void* exception_globals() noexcept { return fiber_cxa_get_globals(); }
#endif

}  // namespace fiber::detail
