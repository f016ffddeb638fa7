// Smart pointers, std::function, std::reference_wrapper, std::mutex, durations and clocks, and what
// makes a range: for public headers, in place of <memory>, <functional>, <mutex>, <chrono> and
// <ranges>, which take longer to compile than all the rest of such a header.
//
// Versions of libstdc++ whose parts are known to stand alone are included by parts; any other
// standard library as a whole. A program includes the standard headers that it uses itself, as
// ever.
#pragma once

#include <fiber/standard/function.hpp>
#include <fiber/standard/ranges.hpp>

#include <string>
#include <utility>
#include <version>

#if defined(_GLIBCXX_RELEASE) && _GLIBCXX_RELEASE >= 12 && _GLIBCXX_RELEASE <= 14
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
