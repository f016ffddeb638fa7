// Objects that the futures of a loop keep alive, and that must end with the loop.
#pragma once

#include <fiber/config.hpp>
#include <fiber/core/list.hpp>

namespace fiber::asyncio::detail {

class LoopObject;

/// An object that lives until futures of its loop are done, even without other references. When the
/// loop is closed the futures will never be done, and the object must end.
class FIBER_API LoopDependent {
 public:
  struct InLoop {
    static core::Links<LoopDependent>& of(LoopDependent& dependent) noexcept {
      return dependent.links_;
    }
  };
  explicit LoopDependent(LoopObject& loop) noexcept;
  LoopDependent(const LoopDependent&) = delete;
  LoopDependent& operator=(const LoopDependent&) = delete;
  /// Called once. Everything that was queued has been dropped by then.
  virtual void loop_closed() noexcept = 0;

 protected:
  virtual ~LoopDependent() { leave(); }
  void leave() noexcept;

 private:
  friend class LoopObject;

  LoopObject* loop_;                  ///< null once it is closed
  core::Links<LoopDependent> links_;  ///< in the loop's list
};

}  // namespace fiber::asyncio::detail
