#pragma once

#include <fiber/config.hpp>
#include <fiber/core/list.hpp>

namespace fiber::asyncio::detail {

class LoopObject;

/// Something that lives until futures of its loop are done, even if nobody refers to it. When the
/// loop is closed they will never be, and it must end.
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
  /// Called once. What was queued by then has been dropped.
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
