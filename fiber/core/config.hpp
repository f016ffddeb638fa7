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
