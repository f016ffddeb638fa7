// sort_by_asking: a comparator that waits for answers, inside of qsort.
//
// Another task knows the order of the cards, and takes a moment for each question. qsort cannot
// wait: its comparator suspends the whole sort, and other tasks run meanwhile.
#include <fiber/asyncio.hpp>

#include <chrono>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "../tutorial/support/print.hpp"
#include "support/callback_border.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

using Cards = std::vector<const char*>;  // "2h" is the two of hearts

struct Question {
  const char *a, *b;
  asyncio::Future<int> answer;
};
using Questions = asyncio::Queue<Question>;

// Sorts by the answers from the other side of the queue.
Cards sorted(Cards cards, const Questions& questions) {
  struct Context {
    const Questions& questions;
    CallbackBorder border;
    int asked = 0;
  } context{questions, {}};
  qsort_r(
      cards.data(), cards.size(), sizeof(const char*),
      [](const void* a, const void* b, void* to) {
        auto* its = static_cast<Context*>(to);
        int result = 0;
        // After an exception qsort runs to its end: it cannot be stopped.
        its->border.pass([&] {
          ++its->asked;
          const Question question{*static_cast<const char* const*>(a),
                                  *static_cast<const char* const*>(b),
                                  asyncio::get_running_loop().create_future<int>()};
          await(its->questions.put(question));
          result = await(question.answer);
        });
        return result;
      },
      &context);
  context.border.rethrow();
  if (context.asked < 4) print("that was too easy");
  return cards;
}

int value_of(const char* card) {
  return static_cast<int>(std::string("23456789TJQKA").find(card[0]));
}

int main() {
  asyncio::run([] {
    const Questions questions;
    const Cards left{"9h", "Ah", "2h", "Kh", "3h"};
    const Cards right{"Qs", "4s", "Js", "7s", "Ts", "5s"};
    int ticks = 0;
    // The tasks use the variables above: they end with the group, whatever happens.
    asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
      const auto colleague = group.create_task([&] {
        for (;;) {
          const Question question = await(questions.get());
          await(asyncio::sleep(1ms));
          if (!question.answer.done())
            question.answer.set_result(value_of(question.a) - value_of(question.b));
        }
      });
      const auto clock = group.create_task([&] {
        for (;; ++ticks) await(asyncio::sleep(1ms));
      });
      const auto one = group.create_task([&] { return sorted(left, questions); });
      const auto other = group.create_task([&] { return sorted(right, questions); });
      print(await(one));
      print(await(other));
      print("meanwhile the clock ticked:", ticks > 3 ? "yes" : "no");

      // A sort that is cancelled in the middle.
      const auto sorting = group.create_task([&] { return sorted(right, questions); });
      await(asyncio::sleep(3ms));
      sorting.cancel();
      await(asyncio::wait(std::vector{sorting}));
      if (sorting.cancelled()) print("cancelled in the middle");
      colleague.cancel();
      clock.cancel();
    });
  });
}
