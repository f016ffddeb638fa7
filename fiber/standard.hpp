// Smart pointers, std::function, std::reference_wrapper, std::mutex, durations and clocks, and the
// concepts of ranges: for public headers, in place of <memory>, <functional>, <mutex>, <chrono> and
// <ranges>, which take longer to compile than all the rest of such a header.
//
// Parts of libstdc++ are included for the version whose parts are tested to stand alone; any other
// standard library is included as a whole. A program itself includes the standard headers that it
// uses, as ever.
#pragma once

#include <fiber/standard/function.hpp>
#include <fiber/standard/ranges.hpp>

#include <string>
#include <utility>
#include <version>

#if defined(_GLIBCXX_RELEASE) && _GLIBCXX_RELEASE == 12
#include <bits/chrono.h>
#include <bits/shared_ptr.h>
#include <bits/std_mutex.h>
#include <bits/unique_lock.h>
#include <bits/unique_ptr.h>
#else
#include <chrono>
#include <memory>
#include <mutex>
#endif
