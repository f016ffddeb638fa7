// The modes of floating-point arithmetic: rounding, traps, what denormal numbers count for. A
// switch keeps them for each fiber; a fiber that starts has those of the code that starts it, or of
// the body that ran on its stack before. Code that wants neither sets them here.
#pragma once

#include <fiber/core/config.hpp>

#include <cstdint>

namespace fiber::core {

class FloatModes {
 public:
  // Those of the calling code.
  static FloatModes current() noexcept {
    FloatModes modes;
#if defined(__x86_64__)
    modes.vector_ = __builtin_ia32_stmxcsr() & ~kFlags;
    asm volatile("fnstcw %0" : "=m"(modes.x87_));
#elif defined(__aarch64__)
    modes.control_ = control();
#endif
    return modes;
  }

  // Setting them is dear, so it is looked first whether they are these. What changes the modes of
  // the x87 unit alone, whose code this is not, goes unnoticed.
  FIBER_INLINE void set() const noexcept {
#if defined(__x86_64__)
    const unsigned now = __builtin_ia32_stmxcsr();
    if (((now ^ vector_) & ~kFlags) != 0) [[unlikely]] {
      __builtin_ia32_ldmxcsr(vector_ | (now & kFlags));
      asm volatile("fldcw %0" : : "m"(x87_));
    }
#elif defined(__aarch64__)
    if (control() != control_) [[unlikely]]
      asm volatile("msr fpcr, %0" : : "r"(control_));
#endif
  }

 private:
#if defined(__x86_64__)
  static constexpr unsigned kFlags = 0x3f;  // what has happened so far, not a mode
  unsigned vector_ = 0x1f80;
  std::uint16_t x87_ = 0x37f;
#elif defined(__aarch64__)
  static std::uint64_t control() noexcept {
    std::uint64_t word;
    asm volatile("mrs %0, fpcr" : "=r"(word));
    return word;
  }
  std::uint64_t control_ = 0;
#endif
};

}  // namespace fiber::core
