#include <fiber/monkey/memory.hpp>

#include <fiber/core/stack.hpp>
#include <fiber/core/thread_state.hpp>
#include <fiber/greenlet.hpp>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>

#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace fiber::monkey::detail {
namespace {

// The smallest size of a page.
constexpr std::uintptr_t kPage = 4096;

// Whether a word can be read: asks the kernel to change the signal mask in a way that does not
// exist. The kernel copies the new mask, which is the word, before it refuses.
bool is_word_readable(std::uintptr_t at) noexcept {
  constexpr int kNoWay = -1;
  constexpr std::size_t kSize = (_NSIG - 1) / 8;  // of the kernel's mask
  constexpr std::uintptr_t kAligned = ~std::uintptr_t{kSize - 1};
  if (at < kPage) return false;  // null would be no mask at all
  const int error = errno;
  const long result = ::syscall(SYS_rt_sigprocmask, kNoWay, at & kAligned, nullptr, kSize);
  const bool yes = result == 0 || errno != EFAULT;
  errno = error;
  return yes;
}

// Returns the end of the memory above a frame that is certainly mapped: the end of the greenlet's
// stack, or else the end of the page.
std::uintptr_t end_of_stack(std::uintptr_t frame) noexcept {
  const fiber::detail::GreenletThread* thread =
      fiber::detail::greenlet_thread_of(core::tls_thread_state);
  if (thread != nullptr && thread->current->stack != nullptr) {
    core::Stack& stack = *thread->current->stack;
    if (frame >= reinterpret_cast<std::uintptr_t>(stack.base) &&
        frame < reinterpret_cast<std::uintptr_t>(stack.top()))
      return reinterpret_cast<std::uintptr_t>(stack.top());
  }
  return frame | (kPage - 1);
}

}  // namespace

bool is_readable(const void* memory, std::size_t size) noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  std::uintptr_t end = 0;
  if (__builtin_add_overflow(begin, size, &end)) return false;
  const auto frame = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  if (begin >= frame && end <= end_of_stack(frame)) return true;
  for (std::uintptr_t at = begin; at < end; at = (at | (kPage - 1)) + 1)
    if (!is_word_readable(at)) return false;
  return true;
}

bool give(void* to, const void* from, std::size_t size) noexcept {
  const iovec source{.iov_base = const_cast<void*>(from), .iov_len = size};
  const iovec sink{.iov_base = to, .iov_len = size};
  const int error = errno;
  const long given = ::syscall(SYS_process_vm_writev, ::getpid(), &source, 1UL, &sink, 1UL, 0UL);
  const bool is_bad = given >= 0 ? static_cast<std::size_t>(given) != size : errno == EFAULT;
  if (given < 0 && !is_bad) std::memcpy(to, from, size);  // a sandbox forbids the call
  errno = is_bad ? EFAULT : error;
  return !is_bad;
}

}  // namespace fiber::monkey::detail
