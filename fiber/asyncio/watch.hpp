// A descriptor that is registered with its loop once, edge-triggered, in both directions. The owner
// remembers the kernel's events, tries the system call first and waits only when it would block: no
// system call and no allocation per wait.
#pragma once

#include <fiber/core/list.hpp>

namespace fiber::asyncio::detail {

class LoopObject;

class Watch {
 public:
  Watch() = default;
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  struct Readiness {
    bool readable = false;
    bool writable = false;
    /// The other side has closed its direction, or the descriptor has failed: a read shows which.
    bool hangup = false;
    /// Urgent data lies somewhere in the readable data: reads stop before it.
    bool urgent = false;
  };
  /// Called by the selector between two batches: may push entries of the ready queue, and neither
  /// runs the user's code nor closes descriptors. Reading comes before writing.
  virtual void ready(Readiness readiness) = 0;
  /// Called when the loop is being closed and has forgotten this watch and its descriptor, which
  /// must be closed (-1 if there is none any more); entries that the watch pushed will not run.
  virtual void detached(int fd) noexcept = 0;

  /// Called when other code has closed the descriptor and its number now names another file, which
  /// must not be touched; descriptor() is -1.
  virtual void lost_descriptor() noexcept = 0;

  /// Returns the directions whose reported readiness is used up: a change is worth a report.
  /// For platforms that report states and not changes: see platform::Wishes.
  virtual Readiness used_up() const noexcept = 0;

  int descriptor() const noexcept { return fd_; }

 protected:
  virtual ~Watch() = default;
  int fd_ = -1;
  /// Set before the descriptor is watched, for a file that may always be ready and of which the
  /// kernel reports nothing, such as /dev/null.
  bool may_be_always_ready_ = false;

 private:
  friend class Selector;
  bool always_ready_ = false;
  bool again_ = false;  ///< to be reported readable again without asking the kernel
  struct AllLinks {
    static core::Links<Watch>& of(Watch& watch) noexcept { return watch.links_; }
  };
  struct AgainLinks {
    static core::Links<Watch>& of(Watch& watch) noexcept { return watch.again_links_; }
  };
  core::Links<Watch> links_;
  core::Links<Watch> again_links_;
};

}  // namespace fiber::asyncio::detail
