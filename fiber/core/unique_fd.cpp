#include <fiber/core/unique_fd.hpp>

#include <fiber/platform/thread.hpp>

#include <unistd.h>

namespace fiber::core {

void UniqueFd::reset() noexcept {
  if (fd_ < 0) return;
  const platform::Uncancelled guard;
  ::close(std::exchange(fd_, -1));
}

}  // namespace fiber::core
