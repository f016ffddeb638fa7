#include <fiber/config.hpp>

#if defined(FIBER_CANNOT_WORK_WITH)
#error "fiber cannot be built with -fsanitize=safe-stack, memory or shadow-call-stack"
#endif

namespace fiber::core::build_the_library_with {
const char FIBER_SANITIZER = 0;
const char FIBER_CONTAINERS = 0;
}  // namespace fiber::core::build_the_library_with
