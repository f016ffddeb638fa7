// Part of GreenletThread: the state of a thread that other threads may change, above all the
// references that these have given up, until the owner takes the references back.
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

// The block that all weak handles to one greenlet share.
struct WeakBlock {
  std::atomic<long> refs{1};
  std::mutex mutex;
  GreenletObject* target;
};

}  // namespace fiber::detail
