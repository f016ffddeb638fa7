// The wait before a further attempt.
#pragma once

#include <fiber/http/arguments.hpp>
#include <fiber/http/random.hpp>

#include <algorithm>

namespace fiber::http {

// Returns `first`, doubled `doublings` times, at most `longest`, plus a random share of it, at most
// `jitter`: so clients that failed together do not all return at once.
inline Seconds backoff_time(Seconds first, int doublings, Seconds longest, double jitter) {
  Seconds time = std::min(first, longest);
  for (int i = 0; i < doublings && time < longest; ++i) time = std::min(time * 2, longest);
  return jitter > 0 ? time * (1 + jitter * random_fraction()) : time;
}

}  // namespace fiber::http
