// Compiler and platform switches shared by every header. Nothing here is for users.
#pragma once

#define FIBER_API __attribute__((visibility("default")))

// For the path through a switch. Processors predict a return by the call it belongs to, and a call
// that another stack made is none: every function that returns right after a switch costs a
// misprediction, more than the switch itself.
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

// The jump between stacks is our own where we have one, unless Boost.Context's is asked for.
#if defined(__x86_64__) && !defined(__ILP32__) && !defined(FIBER_BOOST_CONTEXT)
#define FIBER_OWN_JUMP 1
#endif

// In a fiber's first function: tells unwinders (debuggers, backtrace(), profilers) that it has no
// caller.
#if defined(__x86_64__)
#define FIBER_FIRST_FRAME asm volatile(".cfi_undefined rip")
#elif defined(__aarch64__)
#define FIBER_FIRST_FRAME asm volatile(".cfi_undefined x30")
#else
#define FIBER_FIRST_FRAME static_cast<void>(0)
#endif

// What changes the layout of objects, or the code around a switch, must be the same in the library
// and in what is compiled against it. Where it is not, the linker says that one of these is missing.
#if defined(FIBER_ASAN) || defined(FIBER_TSAN) || defined(_GLIBCXX_DEBUG)
namespace fiber::core::build_the_library_with {
#if defined(FIBER_ASAN)
extern FIBER_API const char address_sanitizer;
[[gnu::used]] static const char* const needs_address_sanitizer = &address_sanitizer;
#endif
#if defined(FIBER_TSAN)
extern FIBER_API const char thread_sanitizer;
[[gnu::used]] static const char* const needs_thread_sanitizer = &thread_sanitizer;
#endif
#if defined(_GLIBCXX_DEBUG)
extern FIBER_API const char glibcxx_debug;
[[gnu::used]] static const char* const needs_glibcxx_debug = &glibcxx_debug;
#endif
}  // namespace fiber::core::build_the_library_with
#endif
