// An intrusive list: its elements contain the links, so that entering and leaving needs no memory
// and no search. Elements are neither owned nor counted.
//
//   struct Waiter { core::Links<Waiter> links; };
//   core::List<Waiter> waiters;
//   waiters.append(waiter);
//   for (Waiter& each : waiters) ...       // `each` may leave meanwhile, others may not
//
// An element is in one list at a time for each of its links. Debuggers count on two things: a
// list's first word is the address of its first element, and Links::next is the address of the
// next.
#pragma once

#include <fiber/core/take.hpp>

#include <cstddef>

namespace fiber::core {

template <class T>
struct Links {
  T* previous = nullptr;
  T* next = nullptr;
};

/// Says where the links of an element are. An element that is in lists of several kinds has a type
/// like this one for each kind.
struct OwnLinks {
  template <class T>
  static Links<T>& of(T& element) noexcept {
    return element.links;
  }
};

template <class T, class Where = OwnLinks>
class List {
 public:
  class Iterator {
   public:
    explicit Iterator(T* at) noexcept : at_(at), next_(after(at)) {}
    T& operator*() const noexcept { return *at_; }
    Iterator& operator++() noexcept {
      at_ = next_;
      next_ = after(at_);
      return *this;
    }
    bool operator==(std::nullptr_t) const noexcept { return at_ == nullptr; }

   private:
    static T* after(T* at) noexcept { return at != nullptr ? Where::of(*at).next : nullptr; }
    T* at_;
    T* next_;
  };

  List() noexcept = default;
  List(const List&) = delete;
  List& operator=(const List&) = delete;
  /// Takes over all elements of `other`.
  List(List&& other) noexcept : first_(take(other.first_)), last_(take(other.last_)) {}
  /// Takes over all elements of `other`; this list must be empty.
  List& operator=(List&& other) noexcept {
    first_ = take(other.first_);
    last_ = take(other.last_);
    return *this;
  }

  bool empty() const noexcept { return first_ == nullptr; }
  /// Returns the number of elements. Counts them.
  std::size_t size() const noexcept {
    std::size_t count = 0;
    for (const T* at = first_; at != nullptr; at = next(*at)) ++count;
    return count;
  }
  /// Returns whether `element`, which must be in this list or in none, is in this list.
  bool has(const T& element) const noexcept {
    return first_ == &element || previous(element) != nullptr;
  }
  T* first() const noexcept { return first_; }
  T* last() const noexcept { return last_; }
  static T* next(const T& element) noexcept { return Where::of(const_cast<T&>(element)).next; }
  static T* previous(const T& element) noexcept {
    return Where::of(const_cast<T&>(element)).previous;
  }
  Iterator begin() const noexcept { return Iterator(first_); }
  std::nullptr_t end() const noexcept { return nullptr; }

  void append(T& element) noexcept { insert(last_, element, nullptr); }
  void prepend(T& element) noexcept { insert(nullptr, element, first_); }
  /// Takes out an element that is in this list.
  void remove(T& element) noexcept {
    Links<T>& links = Where::of(element);
    (links.previous != nullptr ? Where::of(*links.previous).next : first_) = links.next;
    (links.next != nullptr ? Where::of(*links.next).previous : last_) = links.previous;
    links = {};
  }
  /// Takes out the first element and returns it; null if there is none.
  T* pop() noexcept {
    T* element = first_;
    if (element != nullptr) remove(*element);
    return element;
  }

 private:
  // Puts an element between two neighbours; null stands for an end of the list.
  void insert(T* previous, T& element, T* next) noexcept {
    Where::of(element) = {previous, next};
    (previous != nullptr ? Where::of(*previous).next : first_) = &element;
    (next != nullptr ? Where::of(*next).previous : last_) = &element;
  }

  T* first_ = nullptr;
  T* last_ = nullptr;
};

}  // namespace fiber::core
