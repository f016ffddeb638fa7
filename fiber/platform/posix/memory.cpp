// Memory by mmap() and mprotect() alone.
#include <fiber/platform/memory.hpp>

#include <cerrno>

#include <sys/mman.h>

namespace fiber::platform {

void* map_memory(std::size_t bytes) noexcept {
  void* address =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return address == MAP_FAILED ? nullptr : address;
}

void keep_pages_small(void* /*address*/, std::size_t /*bytes*/) noexcept {}

bool are_stacks_executable() noexcept { return false; }

// New pages take the place of the old ones: a mapping with the same properties, which becomes one
// with its neighbours. Where that fails, the memory is kept; it has to read as zero.
void give_back(void* address, std::size_t bytes) noexcept {
  if (::mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
             0) != MAP_FAILED)
    return;
  auto* const words = static_cast<long*>(address);
  for (std::size_t i = 0; i < bytes / sizeof(long); ++i) words[i] = 0;
}

int guard(void* /*address*/, std::size_t /*bytes*/) noexcept { return ENOSYS; }

bool has_guards() noexcept { return false; }

long guard_many(std::byte* /*lowest*/, std::size_t /*bytes*/, std::size_t /*stride*/,
                std::size_t /*count*/) noexcept {
  errno = ENOSYS;
  return -1;
}

// POSIX has no such limit, and its systems have limits of about this size.
long mapping_limit() noexcept {
  constexpr long kUsual = 65530;
  return kUsual;
}

// A page that nobody has touched reads as zero; one with nothing but zeros is as good as untouched.
// The sanitizers see frames there that have not ended.
__attribute__((no_sanitize("address", "thread", "undefined"))) std::size_t touched(
    std::byte* lowest, std::size_t bytes, std::size_t page) noexcept {
  const auto* const words = reinterpret_cast<const volatile unsigned long*>(lowest);
  const std::size_t count = bytes / sizeof(unsigned long);
  for (std::size_t i = 0; i < count; ++i)
    if (words[i] != 0) return bytes - i * sizeof(unsigned long) / page * page;
  return 0;
}

// msync() fails for addresses that are not mapped.
bool is_mapped(void* address, std::size_t bytes) noexcept {
  return ::msync(address, bytes, MS_ASYNC) == 0;
}

}  // namespace fiber::platform
