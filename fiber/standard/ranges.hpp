// The concepts and functions of ranges, in place of <ranges>: see standard.hpp.
#pragma once

#include <initializer_list>
#include <iterator>
#include <version>

#if defined(_GLIBCXX_RELEASE) && _GLIBCXX_RELEASE == 12
#include <bits/ranges_base.h>
#else
#include <ranges>
#endif
