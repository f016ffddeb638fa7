// Generators that wait: asynchronous generators. Python: PEP 525, contextlib.aclosing.
//
// A generator whose items are requested in a task may await, at any depth; a task that iterates it,
// with a plain range-for, waits with it:
//
//   fiber::Generator<int> ticks(int n) {
//     return [n](auto& self) {
//       for (int i = 0; i < n; ++i) {
//         await(asyncio::sleep(1s));
//         self.yield(i);
//       }
//     };
//   }
//   for (int i : ticks(3)) say(i);                     // async for i in ticks(3): say(i)
//
// A generator that is left before its end is closed when its last handle goes, right there: its
// clean-up may wait too, and the task that drops it waits with it. (In Python the loop closes it
// later, in a task of its own; here the loop does so if a callback drops the generator, since a
// callback cannot wait.) Generators that still have handles when the loop ends are closed by
// loop.shutdown_asyncgens(), which run() calls: each in a task of its own, oldest first; their
// exceptions go to the loop's exception handler.
#pragma once

#include <fiber/asyncio/coroutines.hpp>
#include <fiber/generator.hpp>

#include <exception>
#include <utility>

namespace fiber::asyncio {

/// Closes a generator at the end of a block, whatever other handles there are:
///
///   asyncio::with(asyncio::aclosing(ticks(3)), [&](auto& generator) {
///     for (int i : generator) if (i == 1) break;
///   });                                                 // its clean-up has run here
///
/// Python: contextlib.aclosing, and contextlib.closing.
template <class Closable>
class [[nodiscard]] aclosing {
 public:
  explicit aclosing(Closable closable) : closable_(std::move(closable)) {}

  /// For asyncio::with.
  Closable& enter() noexcept { return closable_; }
  bool exit(const std::exception_ptr&) {
    closable_.close();
    return false;
  }

 private:
  Closable closable_;
};

namespace detail {

/// Installs the hooks by which a loop knows the generators that are iterated in its tasks.
void watch_generators() noexcept;
/// Closes the suspended generators of the loop; in a task.
FIBER_API void close_generators(LoopObject& loop);

}  // namespace detail

}  // namespace fiber::asyncio
