#include <fiber/platform/own_descriptors.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include <pthread.h>
#include <sys/stat.h>

namespace fiber::platform {
namespace {

// A bit for each number that the usual limit of the kernel allows. The pages without bits take no
// memory.
constexpr std::size_t kBits = 64;
constexpr std::size_t kMost = std::size_t{1} << 20U;
constinit std::array<std::atomic<std::uint64_t>, kMost / kBits> all{};
constinit std::atomic<std::size_t> used_words{0};  // the words after these have no bits

std::uint64_t bit_of(int fd) noexcept {
  return std::uint64_t{1} << (static_cast<unsigned>(fd) % kBits);
}
std::size_t word_of(int fd) noexcept { return static_cast<unsigned>(fd) / kBits; }

bool is_possible(int fd) noexcept { return fd >= 0 && static_cast<std::size_t>(fd) < kMost; }

// A child process begins with an empty record.
void forget_all() noexcept {
  for (std::size_t i = 0; i < used_words; ++i) all[i].store(0, std::memory_order_relaxed);
  used_words = 0;
}

}  // namespace

void enter_own(int fd) noexcept {
  if (!is_possible(fd)) return;
  static const bool guarded = ::pthread_atfork(nullptr, nullptr, forget_all) == 0;
  static_cast<void>(guarded);
  all[word_of(fd)].fetch_or(bit_of(fd));
  std::size_t used = used_words;
  while (used <= word_of(fd) && !used_words.compare_exchange_weak(used, word_of(fd) + 1)) {
  }
}

bool leave_own(int fd) noexcept {
  if (!is_possible(fd)) return fd >= 0;
  return (all[word_of(fd)].fetch_and(~bit_of(fd)) & bit_of(fd)) != 0;
}

bool is_own(int fd) noexcept {
  return is_possible(fd) && word_of(fd) < used_words &&
         (all[word_of(fd)].load(std::memory_order_relaxed) & bit_of(fd)) != 0;
}

int next_own(int first) noexcept {
  if (!is_possible(first)) return -1;
  std::uint64_t mask = ~(bit_of(first) - 1);
  for (std::size_t i = word_of(first); i < used_words; ++i, mask = ~std::uint64_t{0})
    if (const std::uint64_t found = all[i].load(std::memory_order_relaxed) & mask)
      return static_cast<int>(i * kBits + static_cast<std::size_t>(std::countr_zero(found)));
  return -1;
}

FileIdentity::FileIdentity(int fd) noexcept {
  const int error = errno;
  struct stat status {};
  if (fd >= 0 && ::fstat(fd, &status) == 0) {
    device_ = status.st_dev;
    number_ = status.st_ino;
  }
  errno = error;
}

}  // namespace fiber::platform
