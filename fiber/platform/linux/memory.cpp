#include <fiber/platform/memory.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include <link.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace fiber::platform {
namespace {

#ifndef MADV_GUARD_INSTALL
constexpr int MADV_GUARD_INSTALL = 102;
#endif
#ifndef SYS_process_madvise
constexpr long SYS_process_madvise = 440;
#endif

int is_stack_executable_for(::dl_phdr_info* object, std::size_t, void*) {
  for (int i = 0; i < object->dlpi_phnum; ++i)
    if (object->dlpi_phdr[i].p_type == PT_GNU_STACK)
      return (object->dlpi_phdr[i].p_flags & PF_X) != 0 ? 1 : 0;
  return 0;
}

}  // namespace

void* map_memory(std::size_t bytes) noexcept {
  void* address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return address == MAP_FAILED ? nullptr : address;
}

void keep_pages_small(void* address, std::size_t bytes) noexcept {
  ::madvise(address, bytes, MADV_NOHUGEPAGE);
}

bool are_stacks_executable() noexcept {
  return ::dl_iterate_phdr(is_stack_executable_for, nullptr) != 0;
}

void give_back(void* address, std::size_t bytes) noexcept {
  ::madvise(address, bytes, MADV_DONTNEED);
}

// Needs Linux 6.13.
int guard(void* address, std::size_t bytes) noexcept {
  return ::madvise(address, bytes, MADV_GUARD_INSTALL) == 0 ? 0 : errno;
}

// qemu-user lets any advice succeed, even an unknown one, and installs no guard.
bool has_guards() noexcept {
  constexpr int kNoAdvice = 0x7fff'fff0;
  const int error_number = errno;
  const bool has = ::madvise(nullptr, 0, kNoAdvice) != 0;
  errno = error_number;
  return has;
}

// Needs Linux 6.15.
long guard_many(std::byte* lowest, std::size_t bytes, std::size_t stride,
                std::size_t count) noexcept {
  constexpr int kOwnProcess = -10001;  // PIDFD_SELF_THREAD_GROUP
  ::iovec guards[kMostGuards];
  for (std::size_t i = 0; i < count; ++i) guards[i] = {lowest + i * stride, bytes};
  const long done =
      ::syscall(SYS_process_madvise, kOwnProcess, guards, count, MADV_GUARD_INSTALL, 0U);
  return done < 0 ? -1 : done / static_cast<long>(bytes);
}

long mapping_limit() noexcept {
  constexpr long kUsual = 65530;
  long limit = kUsual;
  if (std::FILE* file = std::fopen("/proc/sys/vm/max_map_count", "re")) {
    if (std::fscanf(file, "%ld", &limit) != 1) limit = kUsual;
    std::fclose(file);
  }
  return limit;
}

std::size_t touched(std::byte* lowest, std::size_t bytes, std::size_t page) noexcept {
  const std::size_t pages = bytes / page;
  constexpr std::size_t kChunk = 256;
  unsigned char resident[kChunk];
  for (std::size_t first = 0; first < pages; first += kChunk) {
    const std::size_t count = std::min(kChunk, pages - first);
    if (::mincore(lowest + first * page, count * page, resident) != 0) return 0;
    for (std::size_t i = 0; i < count; ++i)
      if (resident[i] & 1) return (pages - first - i) * page;
  }
  return 0;
}

bool is_mapped(void* address, std::size_t bytes) noexcept {
  constexpr std::size_t kMostPages = 8;
  unsigned char resident[kMostPages];
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  for (std::size_t at = 0; at < bytes; at += kMostPages * page)
    if (::mincore(static_cast<std::byte*>(address) + at, std::min(bytes - at, kMostPages * page),
                  resident) != 0)
      return false;
  return true;
}

}  // namespace fiber::platform
