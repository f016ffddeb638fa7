// Memory that the caller names, and that may not be there. The kernel fails with EFAULT where code
// of ours would crash. So what a replacement reads before the kernel has read it, it asks for here,
// and what it writes in place of the kernel, it writes by the kernel.
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

// Whether an argument that may be null is so, or can be read.
template <class T>
bool is_usable(const T* one) noexcept {
  return one == nullptr || is_readable(one);
}

// Writes to the memory. Returns false, with EFAULT, if that cannot be.
bool give(void* to, const void* from, std::size_t size) noexcept;
template <class T>
bool give(T* to, const T& value) noexcept {
  return give(to, &value, sizeof value);
}

}  // namespace fiber::monkey::detail
