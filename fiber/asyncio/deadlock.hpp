// The report of a loop that nothing can wake.
#pragma once

namespace fiber::asyncio::detail {

class LoopObject;

class Deadlock {
 public:
  /// Called before the loop waits with nothing ready, no timer and no descriptor. Reports it once,
  /// or throws RuntimeError each time, if no thread, job or signal can wake the loop either.
  void look(LoopObject& loop);
  bool raise = false;  ///< throw, in place of a report

 private:
  bool reported_ = false;
};

}  // namespace fiber::asyncio::detail
