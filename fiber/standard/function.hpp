// std::function and std::reference_wrapper, in place of <functional>: see standard.hpp.
#pragma once

#include <utility>
#include <version>

#if defined(_GLIBCXX_RELEASE) && _GLIBCXX_RELEASE == 12
#include <bits/refwrap.h>
#include <bits/std_function.h>
#else
#include <functional>
#endif
