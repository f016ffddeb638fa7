// Compiler and platform switches shared by every header. Nothing here is for users.
#pragma once

#if __cplusplus < 202002L
#error "fiber needs C++20"
#endif
#if __SIZEOF_POINTER__ < 8
#error "fiber: it is for processors with 64-bit addresses, and this one has others"
#endif

#define FIBER_API __attribute__((visibility("default")))

// For the path through a switch. Processors predict a return by the call to which it belongs, and a
// call on another stack does not count: every function that returns right after a switch costs a
// misprediction, which is more than the switch itself.
#define FIBER_INLINE inline __attribute__((always_inline))

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define FIBER_TSAN 1
#endif

// In a fiber's first function: tells unwinders (debuggers, backtrace(), profilers) that the
// function has no caller.
#if defined(__x86_64__)
#define FIBER_FIRST_FRAME asm volatile(".cfi_undefined rip")
#elif defined(__aarch64__)
#define FIBER_FIRST_FRAME asm volatile(".cfi_undefined x30")
#elif defined(__riscv)
#define FIBER_FIRST_FRAME asm volatile(".cfi_undefined ra")
#elif defined(__powerpc64__)
#define FIBER_FIRST_FRAME asm volatile(".cfi_undefined 65")
#elif defined(__s390x__)
#define FIBER_FIRST_FRAME asm volatile(".cfi_undefined 14")
#else
#define FIBER_FIRST_FRAME static_cast<void>(0)
#endif

// Options that change the layout of objects, or the code around a switch, must be equal in the
// library and in code compiled against it. Where they differ, the linker names the missing option:
// a program of one kind asks for a symbol that a library of the other kind does not have.
#if defined(FIBER_ASAN)
#define FIBER_SANITIZER address_sanitizer
#elif defined(FIBER_TSAN)
#define FIBER_SANITIZER thread_sanitizer
#else
#define FIBER_SANITIZER no_sanitizer
#endif
#if defined(_GLIBCXX_DEBUG)
#define FIBER_CONTAINERS glibcxx_debug
#else
#define FIBER_CONTAINERS no_glibcxx_debug
#endif
namespace fiber::core::build_the_library_with {
extern FIBER_API const char FIBER_SANITIZER, FIBER_CONTAINERS;
[[gnu::used]] static const char* const needed[] = {&FIBER_SANITIZER, &FIBER_CONTAINERS};
}  // namespace fiber::core::build_the_library_with

// These options keep a second stack, or a record of one, which a switch would have to exchange as
// well, and there is no way to exchange it. No library has these symbols: the linker names them, as
// above.
#if defined(__has_feature)
#if __has_feature(safe_stack)
#define FIBER_CANNOT_WORK_WITH safe_stack
#elif __has_feature(memory_sanitizer)
#define FIBER_CANNOT_WORK_WITH memory_sanitizer
#elif __has_feature(shadow_call_stack)
#define FIBER_CANNOT_WORK_WITH shadow_call_stack
#endif
#endif
#if defined(FIBER_CANNOT_WORK_WITH)
namespace fiber::core::cannot_work_with {
extern FIBER_API const char FIBER_CANNOT_WORK_WITH;
[[gnu::used]] static const char* const needed = &FIBER_CANNOT_WORK_WITH;
}  // namespace fiber::core::cannot_work_with
#endif

// No macro tells of -fsplit-stack, but functions compiled with it call a function of this name.
// Here it is a symbol that linkers leave out, and where it is called they say so.
#if defined(__ELF__) && \
    (defined(__x86_64__) || defined(__i386__) || defined(__s390__) || defined(__powerpc64__))
asm(R"(
    .ifndef fiber_split_stacks
    .pushsection fiber_cannot_work_with_split_stacks, "e", @progbits
fiber_split_stacks:
    .byte 0
    .popsection
    .set __morestack, fiber_split_stacks
    .endif
)");
#endif
