#include "works.hpp"

#include <fiber/generator.hpp>

#ifdef BENCHMARK_BOOST_COROUTINE2
#include <boost/coroutine2/coroutine.hpp>
#endif

#include <coroutine>
#include <exception>

namespace works {
namespace {

// A stackless coroutine: the lower limit.
class Stackless {
 public:
  struct promise_type {
    long current = 0;
    Stackless get_return_object() {
      return Stackless(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    std::suspend_always yield_value(long value) noexcept {
      current = value;
      return {};
    }
    void return_void() noexcept {}
    void unhandled_exception() { std::terminate(); }
  };
  explicit Stackless(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  Stackless(const Stackless&) = delete;
  Stackless& operator=(const Stackless&) = delete;
  ~Stackless() { handle_.destroy(); }
  bool next() {
    handle_.resume();
    return !handle_.done();
  }
  long value() const { return handle_.promise().current; }

 private:
  std::coroutine_handle<promise_type> handle_;
};

Stackless count_stackless(long items) {
  for (long i = 0; i < items; ++i) co_yield i;
}

fiber::Generator<long> nested(long items, int depth) {
  return [items, depth](auto& self) {
    if (depth == 0)
      for (long i = 0; i < items; ++i) self.yield(i);
    else
      self.yield_from(nested(items, depth - 1));
  };
}

}  // namespace

void add_generators() {
  add("generator, per item", "fiber", 1'000'000, [](long items) {
    long sum = 0;
    for (const long item : nested(items, 0)) sum += item;
    benchmark::DoNotOptimize(sum);
    return items;
  });
#ifdef BENCHMARK_BOOST_COROUTINE2
  add("generator, per item", "Boost.Coroutine2", 1'000'000, [](long items) {
    long sum = 0;
    boost::coroutines2::coroutine<long>::pull_type source(
        [items](boost::coroutines2::coroutine<long>::push_type& yield) {
          for (long i = 0; i < items; ++i) yield(i);
        });
    for (const long item : source) sum += item;
    benchmark::DoNotOptimize(sum);
    return items;
  });
#endif
  add("generator, per item", "C++20 coroutine", 1'000'000, [](long items) {
    long sum = 0;
    Stackless source = count_stackless(items);
    while (source.next()) sum += source.value();
    benchmark::DoNotOptimize(sum);
    return items;
  });
  add("generator through 100 yield_from", "fiber", 1'000'000, [](long items) {
    long sum = 0;
    for (const long item : nested(items, 100)) sum += item;
    benchmark::DoNotOptimize(sum);
    return items;
  });
}

}  // namespace works
