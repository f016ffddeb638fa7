#include "environments/no_rtti.hpp"

#include <fiber/asyncio.hpp>
#include <fiber/contextvars.hpp>
#include <fiber/exceptiongroup.hpp>

#include <chrono>
#include <memory>

#if defined(__cpp_rtti) || defined(__GXX_RTTI)
#error "this file is to be compiled with -fno-rtti"
#endif

namespace no_rtti {

using namespace fiber;
using asyncio::await;

namespace {

struct Mine : Exception {
  using Exception::Exception;
};

template <class F>
std::string message_of(F&& function) {
  try {
    function();
    return "nothing";
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace

std::vector<std::string> greenlets() {
  std::vector<std::string> lines;
  const greenlet twice([](int x) { return 2 * x; });
  lines.push_back(std::to_string(twice.switch_(21).as<int>()));
  lines.push_back(message_of([] { value(1).as<std::string>(); }));
  lines.push_back(message_of([] { value(std::string("text")).as<unsigned long>(); }));
  lines.push_back(message_of([] { value("text").as<Point*>(); }));
  lines.push_back(message_of([] { value().as<Point>(); }));
  const greenlet thrower([] { throw Mine("mine"); });
  try {
    thrower.switch_();
  } catch (const Mine& error) {
    lines.push_back(std::string("caught ") + error.what());
  }
  lines.push_back(message_of([] {
    const greenlet waits([] { getcurrent().parent().switch_(); });
    waits.switch_();
    waits.throw_(ValueError("thrown in"));
  }));
  return lines;
}

std::vector<std::string> generators() {
  std::vector<std::string> lines;
  const Generator<int, std::string, std::string> conversation = [](auto& self) {
    std::string all;
    for (int i = 0; i < 2; ++i) all += self.yield(i);
    return all;
  };
  conversation.next();
  conversation.send("a");
  try {
    conversation.send("b");
  } catch (const StopIteration& end) {
    lines.push_back(end.value().as<std::string>());
  }
  return lines;
}

std::vector<std::string> tasks() {
  std::vector<std::string> lines;
  asyncio::run([&] {
    auto [a, b] = await(asyncio::gather(
        [] {
          await(asyncio::sleep(std::chrono::milliseconds(1)));
          return 1;
        },
        [] { return std::string("two"); }));
    lines.push_back(std::to_string(a) + " " + b);
    lines.push_back(std::to_string(await(asyncio::to_thread([] { return 3; }))));
    const auto failing = asyncio::create_task([]() -> int { throw Mine("in a task"); });
    lines.push_back(message_of([&] { await(failing); }));
    const auto future = asyncio::get_running_loop().create_future<int>();
    const auto nothing = +[] {};
    future.add_done_callback(nothing);
    lines.push_back("removed " + std::to_string(future.remove_done_callback(nothing)));
    const auto cancelled = asyncio::create_task([] { await(asyncio::sleep(3600)); });
    await(asyncio::sleep(0));
    cancelled.cancel();
    try {
      await(cancelled);
    } catch (const asyncio::CancelledError&) {
      lines.emplace_back("cancelled");
    }
  });
  return lines;
}

greenlet adder() {
  return greenlet([](Point point) { return point.x + point.y; });
}

value a_point() { return Point{3, 4}; }

Generator<Point> points() {
  return [](auto& self) {
    self.yield(Point{1, 2});
    throw Mine("no more points");
  };
}

}  // namespace no_rtti
