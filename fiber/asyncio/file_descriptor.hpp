// Parameters for functions whose Python counterparts take a descriptor or a file object.
#pragma once

#include <fiber/core/unique_fd.hpp>

#include <concepts>
#include <type_traits>
#include <utility>

namespace fiber::asyncio {

/// The number of a descriptor, or an object that has one: a socket::socket, or any type that has
/// fileno() or converts to int. Stays the caller's. Python: an int or a file object.
class FileDescriptorLike {
 public:
  FileDescriptorLike(int fd) noexcept : fd_(fd) {}  // NOLINT(google-explicit-constructor)
  /// Takes the descriptor of any object with fileno().
  template <class File>
    requires requires(const File& file) {
      { file.fileno() } -> std::convertible_to<int>;
    }
  FileDescriptorLike(const File& file)  // NOLINT(google-explicit-constructor)
      : fd_(file.fileno()) {}
  template <class File>
    requires(std::is_class_v<File> && std::convertible_to<const File&, int>)
  FileDescriptorLike(const File& file)  // NOLINT(google-explicit-constructor)
      : fd_(file) {}
  int fileno() const noexcept { return fd_; }  ///< the descriptor

 private:
  int fd_;
};

namespace detail {

using core::UniqueFd;

/// A type that owns its descriptor, as socket::socket does.
template <class File>
concept owns_descriptor = requires(File& file) {
  { file.detach() } -> std::same_as<int>;
};

/// A descriptor that a call takes over. A number stays the caller's until the call has succeeded;
/// the descriptor of an object is closed with this.
class GivenDescriptor {
 public:
  GivenDescriptor(int fd) noexcept  // NOLINT(google-explicit-constructor)
      : fd_(fd), lent_(true) {}
  explicit GivenDescriptor(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  template <owns_descriptor File>
  GivenDescriptor(File&& file)  // NOLINT(google-explicit-constructor)
      : fd_(file.detach()) {
    static_assert(!std::is_lvalue_reference_v<File>, "std::move() what is taken over");
  }
  GivenDescriptor(GivenDescriptor&&) noexcept = default;
  GivenDescriptor& operator=(GivenDescriptor&&) noexcept = default;
  ~GivenDescriptor() {
    if (lent_) static_cast<void>(fd_.release());
  }
  int get() const noexcept { return fd_.get(); }
  /// Gives the descriptor to the caller, which closes it from now on.
  UniqueFd take() noexcept { return std::move(fd_); }
  /// Takes back a descriptor that the caller of take() could not use.
  void put_back(UniqueFd fd) noexcept { fd_ = std::move(fd); }
  /// Gives the descriptor to `open`, which moves from its argument. Keeps the descriptor if `open`
  /// throws.
  template <class Open>
  void hand_over(Open open) {
    UniqueFd taken = take();
    try {
      open(std::move(taken));
    } catch (...) {
      put_back(std::move(taken));
      throw;
    }
  }

 private:
  UniqueFd fd_;
  bool lent_ = false;
};

}  // namespace detail

}  // namespace fiber::asyncio
