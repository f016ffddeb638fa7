// The library's own work fits into the smallest stack that is allowed.
#include <fiber/asyncio.hpp>
#include <fiber/core/thread_state.hpp>
#include <fiber/exceptiongroup.hpp>
#include <fiber/generator.hpp>
#include <fiber/traceback.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <exception>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "support/child_process.hpp"
#include "support/events.hpp"

namespace asyncio = fiber::asyncio;
using asyncio::await;
using support::run_forked;

namespace {

constexpr std::size_t kSmallest = 16 * 1024;

// A type whose name takes much memory to demangle.
template <class... T>
struct Many {};
template <class A, class B>
using Twice = Many<A, B, A, B, std::function<A(B)>>;
using Name = Twice<Twice<Twice<int, std::string>, Twice<long, std::string>>,
                   Twice<Twice<char, std::vector<int>>, Twice<short, std::string>>>;
struct LongNamed : fiber::Exception {
  using Exception::Exception;
};
template <class T>
struct Named : LongNamed {
  using LongNamed::LongNamed;
};

// Returns "" if the task ends well, else the end of the process and its output.
std::string in_a_small_task(const std::function<void()>& body) {
  const auto ended = run_forked([&] {
    asyncio::run([&] { await(asyncio::create_task(body, {.stack_size = kSmallest})); });
    std::fflush(stdout);
    ::_exit(0);
  });
  return ended.status == 0 ? "" : std::to_string(ended.status) + ": " + ended.errors;
}

}  // namespace

TEST_CASE("call graphs and stacks are written on the smallest stack") {
  CHECK(in_a_small_task([] {
          if (asyncio::format_call_graph().find("Call stack") == std::string::npos) ::_exit(3);
        }) == "");
  CHECK(in_a_small_task([] { asyncio::format_all_call_graphs(asyncio::get_running_loop()); }) ==
        "");
  CHECK(in_a_small_task([] { asyncio::create_task([] {}).get_stack(); }) == "");
  CHECK(in_a_small_task([] {
          if (asyncio::current_task().get_stack().empty()) ::_exit(3);
        }) == "");
  CHECK(in_a_small_task([] {
          std::ostringstream out;
          for (const fiber::greenlet& each : fiber::all_greenlets())
            fiber::traceback::print_stack(each, out);
          out << asyncio::current_task().get_stack().size();
        }) == "");
}

TEST_CASE("names, reprs and reports are written on the smallest stack") {
  CHECK(in_a_small_task([] {
          std::ostringstream out;
          out << asyncio::current_task() << fiber::getcurrent();
        }) == "");
  CHECK(in_a_small_task([] {
          try {
            throw Named<Name>("long");
          } catch (const fiber::Exception&) {
            asyncio::Future<int> failed = asyncio::get_running_loop().create_future<int>();
            failed.set_exception(std::current_exception());
            std::ostringstream out;
            out << failed;
          }
        }) == "");
  CHECK(in_a_small_task([] {
          asyncio::get_running_loop().call_exception_handler(
              {.message = "reported", .exception = std::make_exception_ptr(Named<Name>("long"))});
        }) == "");
}

TEST_CASE("a chain of tasks that wait for each other is written on the smallest stack") {
  CHECK(in_a_small_task([] {
          std::function<void(int)> deeper = [&](int depth) {
            if (depth == 0)
              asyncio::format_call_graph();
            else
              await(asyncio::create_task([&, depth] { deeper(depth - 1); },
                                         {.stack_size = kSmallest}));
          };
          deeper(90);
        }) == "");
}

TEST_CASE("an exception thrown on a small stack comes out, with the frames of the caller") {
  asyncio::run([] {
    await(asyncio::create_task(
        [] {
          CHECK(support::thrown_by([] {
                  fiber::core::with_room([] { throw fiber::ValueError("inside"); });
                }) == "ValueError('inside')");
          const std::string before = asyncio::current_task().get_name();
          std::string inside;
          fiber::core::with_room([&] { inside = asyncio::current_task().get_name(); });
          CHECK(inside == before);
        },
        {.stack_size = kSmallest}));
  });
}

TEST_CASE("groups may be nested deeper than a stack") {
  constexpr int kDepth = 5000;
  asyncio::run([] {
    std::exception_ptr error = std::make_exception_ptr(fiber::ValueError("innermost"));
    for (int i = 0; i < kDepth; ++i) error = fiber::make_exception_group("", {error});
    int handled = 0;
    try {
      std::rethrow_exception(error);
    } catch (const fiber::AnyExceptionGroup& group) {
      CHECK(group.repr().size() > std::size_t{kDepth} * 10);
      CHECK(group.subgroup<fiber::ValueError>() != nullptr);
      CHECK(group.subgroup<fiber::OSError>() == nullptr);
      fiber::except_star([&](const fiber::ValueError&) { ++handled; });
    }
    CHECK(handled == 1);
    error = nullptr;  // destroyed on this stack
    CHECK(asyncio::current_task());
  });
}
