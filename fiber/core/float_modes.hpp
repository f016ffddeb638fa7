// The modes of floating-point arithmetic that <cfenv> knows: rounding and traps. A switch keeps
// them for each fiber. A fiber starts with the modes of the code that starts it, or with those of
// the body that ran on its stack before; code that needs certain modes sets them here.
#pragma once

#include <fiber/config.hpp>

#include <bit>
#include <cstdint>

namespace fiber::core {

// float_control(): the modes, and no flags, in the control register of processors that have one.
// FIBER_JUMP_LEAVES_FLOAT_CONTROL: Boost.Context's jump does not keep that register, see jump.hpp.
#if defined(__aarch64__)
#define FIBER_FLOAT_CONTROL 1
#define FIBER_JUMP_LEAVES_FLOAT_CONTROL 1
FIBER_INLINE std::uint32_t float_control() noexcept {
  std::uint64_t word;
  asm volatile("mrs %0, fpcr" : "=r"(word));
  return static_cast<std::uint32_t>(word);
}
FIBER_INLINE void set_float_control(std::uint32_t word) noexcept {
  asm volatile("msr fpcr, %0" : : "r"(std::uint64_t{word}));
}
#elif defined(__riscv_flen)
#define FIBER_FLOAT_CONTROL 1
#define FIBER_JUMP_LEAVES_FLOAT_CONTROL 1
FIBER_INLINE std::uint32_t float_control() noexcept {
  std::uint64_t word;
  asm volatile("frrm %0" : "=r"(word));
  return static_cast<std::uint32_t>(word);
}
FIBER_INLINE void set_float_control(std::uint32_t word) noexcept {
  asm volatile("fsrm %0" : : "r"(std::uint64_t{word}));
}
#elif defined(__powerpc64__)
#define FIBER_FLOAT_CONTROL 1
#define FIBER_JUMP_LEAVES_FLOAT_CONTROL 1
FIBER_INLINE std::uint32_t float_control() noexcept {
  double word;
  asm volatile("mffs %0" : "=d"(word));
  return static_cast<std::uint32_t>(std::bit_cast<std::uint64_t>(word) & 0xff);
}
FIBER_INLINE void set_float_control(std::uint32_t word) noexcept {
  asm volatile("mtfsf 3, %0" : : "d"(std::bit_cast<double>(std::uint64_t{word})));
}
#elif defined(__s390x__)
#define FIBER_FLOAT_CONTROL 1
inline constexpr std::uint32_t kFloatControl = 0xff0000ff;  // the rest are flags
FIBER_INLINE std::uint32_t float_control() noexcept {
  std::uint32_t word;
  asm volatile("efpc %0" : "=d"(word));
  return word & kFloatControl;
}
FIBER_INLINE void set_float_control(std::uint32_t word) noexcept {
  std::uint32_t flags;
  asm volatile("efpc %0" : "=d"(flags));
  asm volatile("sfpc %0" : : "d"((flags & ~kFloatControl) | word));
}
#endif

class FloatModes {
 public:
  // Returns the modes of the calling code.
  static FloatModes current() noexcept {
    FloatModes modes;
#if defined(__x86_64__)
    modes.x87_ = x87();
    modes.vector_ = __builtin_ia32_stmxcsr() & kVectorModes;
#elif defined(FIBER_FLOAT_CONTROL)
    modes.control_ = float_control();
#endif
    return modes;
  }

  // Sets these modes for the calling code. Writing them is expensive: compare first.
  FIBER_INLINE void set() const noexcept {
#if defined(__x86_64__)
    if (x87() != x87_ || (__builtin_ia32_stmxcsr() & kVectorModes) != vector_) [[unlikely]] {
      asm volatile("fldcw %0" : : "m"(x87_));
      __builtin_ia32_ldmxcsr(vector_ | (__builtin_ia32_stmxcsr() & ~kVectorModes));
    }
#elif defined(FIBER_FLOAT_CONTROL)
    if (float_control() != control_) [[unlikely]]
      set_float_control(control_);
#endif
  }

 private:
#if defined(__x86_64__)
  static constexpr unsigned kVectorModes = 0xffc0;  // all but the flags of past operations
  FIBER_INLINE static std::uint16_t x87() noexcept {
    std::uint16_t word;
    asm volatile("fnstcw %0" : "=m"(word));
    return word;
  }
  std::uint16_t x87_ = 0x37f;
  unsigned vector_ = 0x1f80;
#elif defined(FIBER_FLOAT_CONTROL)
  std::uint32_t control_ = 0;
#endif
};

}  // namespace fiber::core
