#include <fiber/platform/thread_pointer.hpp>

namespace fiber::platform {

const char* why_no_thread_pointer(bool /*slow*/) noexcept {
  return "the library is built with -Dplatform=posix, which knows of no thread pointer";
}
std::uintptr_t thread_pointer() noexcept { return 0; }
void set_thread_pointer(std::uintptr_t /*pointer*/, bool /*slow*/) noexcept {}
void prepare_to_lend() noexcept {}

}  // namespace fiber::platform
