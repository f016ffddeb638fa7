// Part of GreenletThread: references that other threads gave up, for the owner to take back, and
// what else of a thread is shared.
#pragma once

#include <fiber/greenlet/object.hpp>

#include <atomic>
#include <mutex>

namespace fiber::detail {

struct Inbox {
  std::mutex mutex;
  GreenletObject* first = nullptr;
  bool closed = false;  // the thread has exited
  long moved_away = 0;  // objects that other threads took over
};

// What weak handles to one greenlet share.
struct WeakBlock {
  std::atomic<long> refs{1};
  std::mutex mutex;
  GreenletObject* target;
};

}  // namespace fiber::detail
