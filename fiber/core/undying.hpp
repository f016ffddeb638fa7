// An object that lasts as long as the process, in place of a `new` that nothing deletes: making it
// cannot fail, and threads may use it after static objects have ended.
#pragma once

#include <new>

#include <pthread.h>

namespace fiber::core {

template <class T>
union Undying {
  constexpr Undying() : object() {}
  constexpr ~Undying() {}
  Undying(const Undying&) = delete;
  Undying& operator=(const Undying&) = delete;
  T& operator*() noexcept { return object; }

  T object;
};

// Calls pthread_atfork, for the whole process. To be called once. Throws std::bad_alloc.
inline void at_fork(void (*before)(), void (*in_parent)(), void (*in_child)()) {
  if (::pthread_atfork(before, in_parent, in_child) != 0) throw std::bad_alloc();
}

}  // namespace fiber::core
