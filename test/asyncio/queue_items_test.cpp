// Items of queues whose copies and moves throw: none is lost, doubled or miscounted.
#include <fiber/asyncio.hpp>

#include <doctest/doctest.h>

#include <deque>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/trace.hpp"

using namespace support;
using asyncio::await;
using asyncio::LifoQueue;
using asyncio::PriorityQueue;
using asyncio::Queue;

namespace {

constexpr int kNever = std::numeric_limits<int>::max();

// How many copies and moves still succeed.
int left = kNever;

void count_down() {
  if (left-- <= 0) throw std::bad_alloc();
}

// Has no move: each is a copy.
struct Copied {
  explicit Copied(int its_number) : number(its_number) {}
  Copied(const Copied& other) : number(other.number) { count_down(); }
  Copied& operator=(const Copied& other) {
    count_down();
    number = other.number;
    return *this;
  }
  ~Copied() = default;
  friend bool operator<(const Copied& a, const Copied& b) { return a.number < b.number; }
  int number;
};

// Cannot be copied, and a move throws before it changes anything.
struct Moved {
  explicit Moved(int its_number) : number(its_number) {}
  Moved(Moved&& other) : number((count_down(), std::exchange(other.number, -1))) {}
  Moved& operator=(Moved&& other) {
    count_down();
    number = std::exchange(other.number, -1);
    return *this;
  }
  ~Moved() = default;
  friend bool operator<(const Moved& a, const Moved& b) { return a.number < b.number; }
  int number;
};

// Moves well, but cannot be swapped without the danger of an exception.
struct Swapped : Copied {
  using Copied::Copied;
  Swapped(const Swapped&) = default;
  Swapped(Swapped&& other) noexcept : Copied(other.number) {}
  Swapped& operator=(const Swapped&) = default;
  ~Swapped() = default;
};

template <class Q>
void fill(const Q& queue, const std::vector<int>& numbers) {
  for (const int number : numbers) queue.put_nowait(typename Q::value_type(number));
}

template <class Q>
std::vector<int> drain(const Q& queue) {
  left = kNever;
  std::vector<int> numbers;
  while (!queue.empty()) {
    numbers.push_back(queue.get_nowait().number);
    queue.task_done();
  }
  return numbers;
}

// Returns whether the operation has succeeded, when all but `count` copies and moves fail.
template <class F>
bool succeeds(int count, F operation) {
  left = count;
  try {
    operation();
    left = kNever;
    return true;
  } catch (const std::bad_alloc&) {
    left = kNever;
    return false;
  }
}

const std::vector<int> kNumbers{5, 3, 8, 1, 9, 2, 7, 4};  // a ring that is full

template <class Q>
std::vector<int> in_order(const std::vector<int>& numbers) {
  const Q queue;
  fill(queue, numbers);
  return drain(queue);
}

template <class Q>
void check_put(bool waits) {
  using Item = typename Q::value_type;
  std::vector<int> with_one = kNumbers;
  with_one.push_back(0);
  bool put = false;
  for (int count = 0; !put; ++count) {
    REQUIRE(count < 100);
    const Q queue;
    fill(queue, kNumbers);
    put = succeeds(count, [&] {
      if (waits)
        await(queue.put(Item(0)));
      else
        queue.put_nowait(Item(0));
    });
    CHECK(queue.qsize() == kNumbers.size() + (put ? 1 : 0));
    CHECK(drain(queue) == in_order<Q>(put ? with_one : kNumbers));
    CHECK_THROWS_AS(queue.task_done(), fiber::ValueError);
  }
}

template <class Q>
void check_get(bool waits) {
  const std::vector<int> expected = in_order<Q>(kNumbers);
  bool got = false;
  for (int count = 0; !got; ++count) {
    REQUIRE(count < 100);
    const Q queue;
    fill(queue, kNumbers);
    int first = 0;
    got = succeeds(count,
                   [&] { first = waits ? await(queue.get()).number : queue.get_nowait().number; });
    std::vector<int> all;
    if (got) {
      all.push_back(first);
      queue.task_done();
    }
    for (const int number : drain(queue)) all.push_back(number);
    CHECK(all == expected);
    CHECK_THROWS_AS(queue.task_done(), fiber::ValueError);
  }
}

template <class Q>
void check_all() {
  run([] {
    for (const bool waits : {false, true}) {
      check_put<Q>(waits);
      check_get<Q>(waits);
    }
  });
}

struct Tree {
  Queue<Tree> children;
  LifoQueue<Tree> more;
};

}  // namespace

TEST_CASE("a put or get that fails since an item cannot be copied leaves the queue as it was") {
  check_all<Queue<Copied>>();
  check_all<LifoQueue<Copied>>();
  check_all<PriorityQueue<Copied>>();
  check_all<PriorityQueue<Swapped>>();
}

TEST_CASE("a put or get that fails since an item cannot be moved leaves the queue as it was") {
  check_all<Queue<Moved>>();
  check_all<LifoQueue<Moved>>();
  check_all<PriorityQueue<Moved>>();
}

TEST_CASE("a comparison that throws leaves a queue of items whose copies throw as it was") {
  struct Fussy {
    bool operator()(const Copied& a, const Copied& b) const {
      if (a.number == 0 || b.number == 0) throw fiber::ValueError("zero");
      return a.number < b.number;
    }
  };
  const PriorityQueue<Copied, Fussy> queue;
  fill(queue, kNumbers);
  CHECK(thrown_by([&] { queue.put_nowait(Copied(0)); }) == "ValueError('zero')");
  CHECK(drain(queue) == std::vector{1, 2, 3, 4, 5, 7, 8, 9});
}

TEST_CASE("items that cannot be assigned, or have no move that is safe, may be queued") {
  struct Fixed {
    const int number;
    bool operator<(const Fixed& other) const { return number < other.number; }
  };
  const PriorityQueue<Fixed> fixed;
  for (const int number : {2, 3, 1}) fixed.put_nowait({number});
  for (const int number : {1, 2, 3}) CHECK(fixed.get_nowait().number == number);

  // A std::deque claims to be copyable, and its move may throw.
  using Pointers = std::deque<std::unique_ptr<int>>;
  const auto passes = [](const auto& queue) {
    for (int i = 0; i < 20; ++i) {
      Pointers pointers;
      pointers.push_back(std::make_unique<int>(i));
      queue.put_nowait(std::move(pointers));
    }
    int sum = 0;
    while (!queue.empty()) sum += *queue.get_nowait().at(0);
    return sum;
  };
  const auto by_value = [](const Pointers& a, const Pointers& b) { return *a.at(0) < *b.at(0); };
  CHECK(passes(Queue<Pointers>()) == 190);
  CHECK(passes(LifoQueue<Pointers>()) == 190);
  CHECK(passes(PriorityQueue<Pointers, decltype(by_value)>()) == 190);
}

TEST_CASE("a queue that is shut down drops items that can be neither copied nor moved") {
  const auto shuts_down = [](const auto& queue) {
    return asyncio::run([&] {
      fill(queue, kNumbers);
      const auto joined = asyncio::create_task(queue.join());
      await(asyncio::sleep(0));
      CHECK(succeeds(0, [&] { queue.shutdown(true); }));
      await(joined);
      return queue.empty();
    });
  };
  CHECK(shuts_down(Queue<Copied>()));
  CHECK(shuts_down(LifoQueue<Copied>()));
  CHECK(shuts_down(PriorityQueue<Copied>()));
}

TEST_CASE("queues of truth values show and sort them") {
  const LifoQueue<bool> lifo;
  const PriorityQueue<bool> priority;
  for (const bool item : {true, false, true}) {
    lifo.put_nowait(item);
    priority.put_nowait(item);
  }
  CHECK(lifo.str() == "<LifoQueue maxsize=0 _queue=[True, False, True] tasks=3>");
  CHECK(priority.str() == "<PriorityQueue maxsize=0 _queue=[False, True, True] tasks=3>");
  for (const bool item : {true, false, true}) CHECK(lifo.get_nowait() == item);
  for (const bool item : {false, true, true}) CHECK(priority.get_nowait() == item);
}

TEST_CASE("an item may have a queue of its own type") {
  const Tree root;
  root.children.put_nowait(Tree());
  root.more.put_nowait(Tree());
  CHECK(root.children.get_nowait().children.empty());
  CHECK(root.more.get_nowait().more.empty());
}
