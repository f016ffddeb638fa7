#include "works.hpp"

#include <fiber/asyncio.hpp>

#include <boost/context/detail/fcontext.hpp>

#ifdef BENCHMARK_BOOST_FIBER
#include <boost/fiber/all.hpp>
#endif

#include <sys/mman.h>

#include <chrono>
#include <coroutine>
#include <memory>
#include <string>
#include <vector>

namespace works {
namespace {

using fiber::asyncio::await;
namespace asyncio = fiber::asyncio;
namespace context = boost::context::detail;

// The lower limit of sleep(0): a ring in which each fiber only jumps to the next.
class RawRing {
 public:
  explicit RawRing(std::size_t count)
      : bytes_(count * kStack),
        memory_(static_cast<char*>(::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))),
        fibers_(count) {
    ::madvise(memory_, bytes_, MADV_NOHUGEPAGE);
    for (std::size_t i = 0; i < count; ++i) {
      // Spread over cache sets, as the library's own stacks are.
      char* top = memory_ + (i + 1) * kStack - (i % 16) * 64;
      fibers_[i] = context::make_fcontext(top, kStack - 1024, &RawRing::body);
    }
  }
  RawRing(const RawRing&) = delete;
  RawRing& operator=(const RawRing&) = delete;
  ~RawRing() { ::munmap(memory_, bytes_); }

  void run(long switches) {
    left_ = switches;
    context::jump_fcontext(fibers_[0], this);
  }

 private:
  static constexpr std::size_t kStack = 256 * 1024;

  // Each arrival notes the place of the fiber that was left: the argument of a jump is the ring, or
  // null to end.
  static void body(context::transfer_t from) {
    auto* ring = static_cast<RawRing*>(from.data);
    ring->leave(from.fctx);
    for (;;) {
      const std::size_t self = ring->at_;
      if (--ring->left_ <= 0) {
        const context::fcontext_t back = ring->main_;
        context::jump_fcontext(back, nullptr);
      }
      ring->previous_ = self;
      ring->at_ = self + 1 == ring->fibers_.size() ? 0 : self + 1;
      from = context::jump_fcontext(ring->fibers_[ring->at_], ring);
      ring->leave(from.fctx);
    }
  }
  void leave(context::fcontext_t from) {
    if (main_ == nullptr)
      main_ = from;
    else
      fibers_[previous_] = from;
  }

  std::size_t bytes_;
  char* memory_;
  std::vector<context::fcontext_t> fibers_;
  context::fcontext_t main_ = nullptr;
  std::size_t at_ = 0;
  std::size_t previous_ = 0;
  long left_ = 0;
};

// The stackless limit: C++20 coroutines that are resumed in turn.
class StacklessRing {
 public:
  explicit StacklessRing(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) members_.push_back(member());
  }
  StacklessRing(const StacklessRing&) = delete;
  StacklessRing& operator=(const StacklessRing&) = delete;
  ~StacklessRing() {
    for (const auto one : members_) one.destroy();
  }

  void run(long switches) {
    for (std::size_t at = 0; switches > 0; --switches) {
      members_[at].resume();
      at = at + 1 == members_.size() ? 0 : at + 1;
    }
  }

 private:
  struct Coroutine {
    struct promise_type {
      std::coroutine_handle<> get_return_object() {
        return std::coroutine_handle<promise_type>::from_promise(*this);
      }
      std::suspend_always initial_suspend() noexcept { return {}; }
      std::suspend_always final_suspend() noexcept { return {}; }
      void return_void() noexcept {}
      void unhandled_exception() { std::terminate(); }
    };
    Coroutine(std::coroutine_handle<> made) : handle(made) {}    // NOLINT
    operator std::coroutine_handle<>() const { return handle; }  // NOLINT
    std::coroutine_handle<> handle;
  };
  static Coroutine member() {
    for (;;) co_await std::suspend_always();
  }
  std::vector<std::coroutine_handle<>> members_;
};

// Measures each figure inside the loop, without its start and end.
void add_sleep0(long tasks) {
  const std::string work = "sleep(0), " + std::to_string(tasks) + " tasks";
  const long items = std::max(2'000'000L, tasks * 10);
  add(work, "raw Boost.Context", items, [tasks](long count) {
    RawRing ring(static_cast<std::size_t>(tasks));
    ring.run(count);
    return count;
  });
  add(work, "C++20 coroutine", items, [tasks](long count) {
    StacklessRing ring(static_cast<std::size_t>(tasks));
    ring.run(count);
    return count;
  });
  add(work, "fiber", items, [tasks](long count) {
    const long rounds = count / tasks;
    asyncio::run([&] {
      std::vector<asyncio::Task<>> all;
      for (long i = 0; i < tasks; ++i)
        all.push_back(asyncio::create_task([rounds] {
          for (long round = 0; round < rounds; ++round) await(asyncio::sleep(0));
        }));
      await(asyncio::gather(all));
    });
    return rounds * tasks;
  });
#ifdef BENCHMARK_BOOST_FIBER
  if (tasks <= 10'000)
    add(work, "Boost.Fiber", items, [tasks](long count) {
      const long rounds = count / tasks;
      std::vector<boost::fibers::fiber> all;
      for (long i = 0; i < tasks; ++i)
        all.emplace_back([rounds] {
          for (long round = 0; round < rounds; ++round) boost::this_fiber::yield();
        });
      for (auto& one : all) one.join();
      return rounds * tasks;
    });
#endif
}

void add_gather(long tasks) {
  add("gather of " + std::to_string(tasks) + " that return at once", "fiber",
      std::max(tasks, 100'000L), [tasks](long items) {
        asyncio::run([&] {
          for (long done = 0; done < items; done += tasks) {
            std::vector<asyncio::Coroutine<>> all;
            all.reserve(static_cast<std::size_t>(tasks));
            for (long i = 0; i < tasks; ++i) all.emplace_back([] {});
            await(asyncio::gather(std::move(all)));
          }
        });
        return items;
      });
}

}  // namespace

void add_tasks() {
  for (const long tasks : {10L, 1'000L, 100'000L}) add_sleep0(tasks);

  add("create and await one task", "fiber", 500'000, [](long items) {
    asyncio::run([&] {
      for (long i = 0; i < items; ++i) await(asyncio::create_task([] {}));
    });
    return items;
  });
#ifdef BENCHMARK_BOOST_FIBER
  add("create and await one task", "Boost.Fiber", 200'000, [](long items) {
    for (long i = 0; i < items; ++i) boost::fibers::fiber([] {}).join();
    return items;
  });
#endif

  for (const long tasks : {10L, 1'000L, 1'000'000L}) add_gather(tasks);

  add("cancel 100000 sleeping tasks", "fiber", 100'000, [](long items) {
    asyncio::run([&] {
      std::vector<asyncio::Task<>> all;
      for (long i = 0; i < items; ++i)
        all.push_back(asyncio::create_task(asyncio::sleep(std::chrono::hours(1))));
      await(asyncio::sleep(0));
      for (const auto& task : all) task.cancel();
      await(asyncio::wait(all));
    });
    return items;
  });
  add("timer set and cancelled", "fiber", 300'000, [](long items) {
    asyncio::run([&] {
      const asyncio::EventLoop loop = asyncio::get_running_loop();
      for (long i = 0; i < items; ++i) loop.call_later(std::chrono::hours(1), [] {}).cancel();
    });
    return items;
  });
  add("asyncio::run of nothing", "fiber", 2'000, [](long items) {
    for (long i = 0; i < items; ++i) asyncio::run([] {});
    return items;
  });
}

}  // namespace works
