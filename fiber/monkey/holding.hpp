// The objects that a call holds while its task waits. A handler that jumps out of the call
// (siglongjmp) runs no destructor: the next call that waits on that stack frees these objects.
#pragma once

#include <fiber/monkey/descriptor.hpp>
#include <fiber/monkey/waiting.hpp>

#include <cerrno>
#include <cstddef>
#include <new>
#include <utility>
#include <vector>

namespace fiber::monkey::detail {

// On the heap, in a list of the thread.
class Holding {
 public:
  Holding(const Holding&) = delete;
  Holding& operator=(const Holding&) = delete;
  virtual ~Holding();

  // Deletes the objects of calls whose frames are gone: below the frame of this call, which holds
  // nothing yet.
  static void let_go_of_lost(const Call& call) noexcept;

 protected:
  explicit Holding(const Call& call) noexcept;

 private:
  bool is_lost(const Call& call) const noexcept;

  const void* stack_;
  const Call* call_;
  Holding* next_;
};

// A descriptor of our own. Without memory for the list, it is lost in a jump. Code that closes
// unknown descriptors may close it, or put another file under its number: see has_lost().
class HeldDescriptor {
 public:
  HeldDescriptor(const Call& call, int fd) noexcept
      : listed_(fd >= 0 ? new(std::nothrow) Listed(call, fd) : nullptr),
        unlisted_(listed_ == nullptr ? fd : -1) {}
  HeldDescriptor(const HeldDescriptor&) = delete;
  HeldDescriptor& operator=(const HeldDescriptor&) = delete;
  ~HeldDescriptor() {
    has_lost();
    delete listed_;
  }
  int get() const noexcept { return listed_ != nullptr ? listed_->its.get() : unlisted_.get(); }
  // Returns whether there was a descriptor that is ours no more; then there is none from now on,
  // and its number is left alone.
  bool has_lost() noexcept {
    if (get() < 0 || (platform::is_own(get()) && platform::FileIdentity(get()) == file_))
      return false;
    release();
    return true;
  }
  // Returns whether a wait for it has failed for that reason.
  bool has_failed_as_lost() noexcept { return (errno == EBADF || errno == EPERM) && has_lost(); }
  int release() noexcept {
    return listed_ != nullptr ? listed_->its.release() : unlisted_.release();
  }

 private:
  struct Listed final : Holding {
    Listed(const Call& call, int fd) noexcept : Holding(call), its(fd) {}
    Descriptor its;
  };
  Listed* listed_;
  Descriptor unlisted_;
  platform::FileIdentity file_{get()};
};

// Memory for so many objects.
template <class T>
class HeldMemory {
 public:
  HeldMemory() = default;
  HeldMemory(const HeldMemory&) = delete;
  HeldMemory& operator=(const HeldMemory&) = delete;
  ~HeldMemory() { delete listed_; }
  // Throws std::bad_alloc. At most once.
  T* make(const Call& call, std::size_t count) {
    listed_ = new Listed(call, count);
    return listed_->all.data();
  }

 private:
  struct Listed final : Holding {
    Listed(const Call& call, std::size_t count) : Holding(call), all(count) {}
    std::vector<T> all;
  };
  Listed* listed_ = nullptr;
};

}  // namespace fiber::monkey::detail
