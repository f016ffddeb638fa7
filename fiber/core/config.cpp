#include <fiber/core/config.hpp>

#if defined(FIBER_ASAN) || defined(FIBER_TSAN) || defined(_GLIBCXX_DEBUG)
namespace fiber::core::build_the_library_with {
#if defined(FIBER_ASAN)
const char address_sanitizer = 0;
#endif
#if defined(FIBER_TSAN)
const char thread_sanitizer = 0;
#endif
#if defined(_GLIBCXX_DEBUG)
const char glibcxx_debug = 0;
#endif
}  // namespace fiber::core::build_the_library_with
#endif
