// How long to wait before another try.
#pragma once

#include <fiber/http/arguments.hpp>
#include <fiber/http/random.hpp>

#include <algorithm>

namespace fiber::http {

// `first`, doubled so many times, `longest` at most; and a random share of that, up to `jitter`, is
// added: those whom one fault has hit do not come back all at once.
inline Seconds backoff_time(Seconds first, int doublings, Seconds longest, double jitter) {
  Seconds time = std::min(first, longest);
  for (int i = 0; i < doublings && time < longest; ++i) time = std::min(time * 2, longest);
  return jitter > 0 ? time * (1 + jitter * random_fraction()) : time;
}

}  // namespace fiber::http
