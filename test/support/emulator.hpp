// What the emulator that runs the tests does not do. A test case about such a thing ends with the
// reason, which test/support/cross/run prints:
//
//   if (support::lacks_address_space_limit()) return;
//
// A case that fails for a reason of the library's own has no place here.
#pragma once

#include "platform.hpp"
#include "valgrind.hpp"

namespace support {

inline bool lacks_address_space_limit() {
  return on_emulator() && left_out("qemu-user does not limit address space and data");
}

inline bool lacks_threads_in_forked_children() {
  return on_emulator() && left_out(
                              "qemu-user ends when a child of fork starts a thread beside "
                              "those of its parent");
}

inline bool lacks_unwinding_from_handlers() {
#if defined(__powerpc64__)
  return on_emulator() &&
         left_out(
             "on POWER libgcc does not know the code by which qemu-user returns from a handler");
#else
  return false;
#endif
}

inline bool lacks_shared_memory_of_vfork() {
  return on_emulator() &&
         left_out("under qemu-user a failed exec is a status, since vfork shares no memory");
}

inline bool lacks_robust_mutexes() {
  return on_emulator() && left_out("qemu-user does not know the list of a thread's robust mutexes");
}

}  // namespace support
