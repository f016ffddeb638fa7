// Access to memory at addresses that the caller gives, which may be invalid. A system call fails
// with EFAULT where code of ours would crash. So a replacement checks memory here before it reads
// the memory itself, and a result that it writes in place of the kernel is written by a system
// call.
#pragma once

#include <cstddef>

namespace fiber::monkey::detail {

// Whether all of the memory can be read. Costs nothing for memory in the frames of callers, and a
// small system call for each other page.
bool is_readable(const void* memory, std::size_t size) noexcept;
template <class T>
bool is_readable(const T* one) noexcept {
  return is_readable(one, sizeof *one);
}

// Whether an optional argument is null or can be read.
template <class T>
bool is_usable(const T* one) noexcept {
  return one == nullptr || is_readable(one);
}

// Writes to the memory. Returns false, with EFAULT, if the memory cannot be written to.
bool give(void* to, const void* from, std::size_t size) noexcept;
template <class T>
bool give(T* to, const T& value) noexcept {
  return give(to, &value, sizeof value);
}

}  // namespace fiber::monkey::detail
