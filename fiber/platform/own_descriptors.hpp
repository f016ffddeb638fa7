// The numbers of the descriptors that the library has for itself: code that closes all descriptors
// that it does not know should leave them open. The numbers of pollers are not here: their
// owners know them. All functions may be called on any thread.
#pragma once

#include <fiber/config.hpp>

#include <sys/types.h>

namespace fiber::platform {

// Enters an open descriptor, if there is one. A child process begins with none.
FIBER_API void enter_own(int fd) noexcept;
// Takes a number out, as before it is closed. Returns false if it was not the library's any more:
// then it must not be closed.
FIBER_API bool leave_own(int fd) noexcept;
FIBER_API bool is_own(int fd) noexcept;
// Returns the smallest number that is the library's, and at least `first`; -1 if there is none.
FIBER_API int next_own(int first) noexcept;

// Tells files apart, as far as the kernel gives them numbers: event descriptors of different kinds
// look alike.
class FIBER_API FileIdentity {
 public:
  FileIdentity() = default;  // of no file
  explicit FileIdentity(int fd) noexcept;
  bool operator==(const FileIdentity&) const = default;

 private:
  dev_t device_ = 0;
  ino_t number_ = 0;
};

}  // namespace fiber::platform
