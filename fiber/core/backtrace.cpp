#include <fiber/core/backtrace.hpp>

#include <fiber/core/call_below.hpp>
#include <fiber/core/jump.hpp>
#include <fiber/core/thread_state.hpp>

#include <cstddef>
#include <cstdint>

#include <unwind.h>

namespace fiber::core {
namespace {

// An unwinder gives for each function its CFA: the stack pointer at the call of that function.
// __builtin_frame_address(0) of the same function lies between the stack pointer itself and the
// start of the caller's frame, as the processor's ABI has it: on RISC-V and LoongArch it is that
// start.
#if defined(__riscv) || defined(__loongarch__)
constexpr std::uintptr_t kOwnFrame = 0;
#else
constexpr std::uintptr_t kOwnFrame = 1;
#endif

constexpr std::size_t kMaxFrames = 10'000;  // of an endless recursion the newest frames are enough

// Records the frames of a stack. An exception thrown meanwhile would travel up the stack that is
// walked, so nothing here may throw: the frames are counted in a first pass and stored in a second.
struct Recorder {
  void* const above = nullptr;      // a function: frames up to its own are left out
  const std::uintptr_t lowest = 0;  // so are frames whose stack pointer is below this address
  void** frames = nullptr;
  std::size_t count = 0;
  bool skipping = above != nullptr;

  static _Unwind_Reason_Code visit(_Unwind_Context* context, void* argument) noexcept {
    Recorder& self = *static_cast<Recorder*>(argument);
    if (self.skipping) {
      self.skipping = reinterpret_cast<void*>(_Unwind_GetRegionStart(context)) != self.above;
      return _URC_NO_REASON;
    }
    if (_Unwind_GetCFA(context) < self.lowest) return _URC_NO_REASON;
    const auto address = static_cast<std::uintptr_t>(_Unwind_GetIP(context));
    // An address of 0: the frame before was the first of a fiber or of a thread.
    if (address == 0 || self.count == kMaxFrames) return _URC_END_OF_STACK;
    if (self.frames != nullptr) self.frames[self.count] = reinterpret_cast<void*>(address);
    ++self.count;
    return _URC_NO_REASON;
  }

  static void walk(void* recorder) noexcept { _Unwind_Backtrace(&Recorder::visit, recorder); }
};

// Calls `walk` twice, to count and to store the frames; both times the stack must be equal.
template <class Walk>
std::vector<void*> record(Walk walk, void* above, std::uintptr_t lowest) {
  std::vector<void*> frames;
  for (int pass = 0; pass < 2; ++pass) {
    Recorder recorder{.above = above, .lowest = lowest, .frames = frames.data()};
    walk(recorder);
    frames.resize(recorder.count);
  }
  return frames;
}

#if defined(FIBER_READS_SUSPENDED)
void never_entered(BoostTransfer) {}

// The frame that Boost.Context makes for the caller of a fiber's first function, in bytes.
#if defined(__powerpc64__)
constexpr std::size_t kFirstFrame = 64;
#else
constexpr std::size_t kFirstFrame = 0;
#endif
#endif

}  // namespace

std::size_t saved_registers_size() noexcept {
#if defined(FIBER_READS_SUSPENDED)
  // A context that was just made consists of the registers to start with and the first frame.
  alignas(16) std::byte memory[512];
  static const auto size =
      static_cast<std::size_t>(memory + sizeof(memory) -
                               static_cast<std::byte*>(fiber_boost_make(
                                   memory + sizeof(memory), sizeof(memory), never_entered)));
  return size - kFirstFrame;
#else
  return 0;
#endif
}

std::vector<void*> backtrace_of([[maybe_unused]] const Context& from) {
#if defined(FIBER_READS_SUSPENDED)
  const void* registers = static_cast<std::byte*>(from.sp) + saved_registers_size();
  return record([registers](Recorder& to) { fiber_call_below(registers, &Recorder::walk, &to); },
                reinterpret_cast<void*>(&fiber_call_below), 0);
#else
  return {};
#endif
}

std::vector<void*> backtrace_from(const void* frame_address) {
  // The caller's frames may be on the stack that call_with_room() has left.
  const ThreadState* thread = tls_thread_state;
  if (thread != nullptr && thread->calls_with_room != nullptr) {
    std::vector<void*> frames = backtrace_of(*thread->calls_with_room);
    if (!frames.empty()) return frames;
  }
  return record([](Recorder& to) { Recorder::walk(&to); }, nullptr,
                reinterpret_cast<std::uintptr_t>(frame_address) + kOwnFrame);
}

}  // namespace fiber::core
