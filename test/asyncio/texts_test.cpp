// The texts of objects: Python's, whatever locale the program has set.
#include <fiber/asyncio.hpp>
#include <fiber/asyncio/call_graph.hpp>
#include <fiber/asyncio/stall.hpp>
#include <fiber/concurrent/futures.hpp>
#include <fiber/contextvars.hpp>
#include <fiber/exceptions/repr.hpp>
#include <fiber/generator.hpp>
#include <fiber/traceback.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "support/events.hpp"
#include "support/locales.hpp"
#include "support/trace.hpp"
#include "support/vectors.hpp"

using namespace support;
using asyncio::await;

namespace {

using Texts = std::vector<std::string>;

// Returns the name of an object between what stands around it: its address is of no interest.
std::string between(const std::string& text, const std::string& from, const std::string& to) {
  const std::size_t begin = text.find(from);
  REQUIRE_MESSAGE(begin != std::string::npos, text);
  return text.substr(begin + from.size(), text.find(to, begin) - begin - from.size());
}

std::exception_ptr nested(int depth) {
  std::exception_ptr error = std::make_exception_ptr(fiber::ValueError("innermost"));
  for (int i = 0; i < depth; ++i) error = fiber::make_exception_group("level", {error});
  return error;
}

std::string what(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  }
}

}  // namespace

TEST_CASE("texts do not depend on the locales of C and C++") {
  run([] {
    const asyncio::Queue<double> queue(123456);
    for (int i = 0; i < 1234; ++i) queue.put_nowait(i + 0.5);
    const asyncio::Semaphore semaphore(123456);
    const asyncio::Lock lock;
    const asyncio::Event event;
    const asyncio::Barrier barrier(123456);
    const asyncio::Future<int> future = asyncio::get_running_loop().create_future<int>();
    for (int i = 0; i < 1234; ++i) future.add_done_callback([](const auto&) {});
    const fiber::concurrent::futures::Future<int> other;
    const fiber::contextvars::ContextVar<int> variable("variable");
    const fiber::Generator<int> generator([](auto& self) { self.yield(1); });
    asyncio::TaskGroup group;
    asyncio::Timeout timeout = asyncio::timeout_at(123456s + 750ms);
    const fiber::traceback::FrameSummary frame{
        .address = &queue, .name = "name", .offset = 123456, .filename = "file"};
    const auto texts = [&] {
      return Texts{queue.repr(),
                   queue.str(),
                   semaphore.repr(),
                   lock.repr(),
                   event.repr(),
                   barrier.repr(),
                   repr(future),
                   repr(other),
                   repr(variable),
                   repr(fiber::contextvars::copy_context()).substr(0, 11),
                   repr(generator),
                   repr(fiber::getcurrent()),
                   repr(asyncio::current_task()),
                   group.repr(),
                   timeout.repr(),
                   asyncio::format_call_graph(future),
                   fiber::traceback::format_list({frame}).front(),
                   asyncio::str(asyncio::Stall{.duration = 1234567ms, .task = "t"}),
                   thrown_by([] {
                     await(asyncio::start_server([](auto, auto) {}, "127.0.0.1", 0,
                                                 {.ssl_handshake_timeout = -1500us}));
                   })};
    };
    asyncio::with(group, [&] {
      for (int i = 0; i < 1234; ++i) group.create_task([] {});
      asyncio::with(timeout, [&] {
        const Texts plain = texts();
        const ForeignLocale locale;
        CHECK(texts() == plain);
        CHECK(between(plain[0], "maxsize=", " ") == "123456");
        CHECK(plain[0].ends_with("1233.5] tasks=1234>"));
        CHECK(between(plain[2], "[", "]") == "unlocked, value:123456");
        CHECK(between(plain[5], "[", "]") == "filling, waiters:0/123456");
        CHECK(plain[6] == "<Future pending cb=[1234]>");
        CHECK(plain[13] == "<TaskGroup tasks=1234 entered>");
        CHECK(plain[14] == "<Timeout [active] when=123456.75>");
        CHECK(plain[16].starts_with("  File \"file\", in name+0x1e240 [0x"));
        CHECK(plain[17].find("for 1234.567 s: task 't'") != std::string::npos);
      });
    });
  });
}

TEST_CASE("a float is shown with the fewest digits that give it again, as in Python") {
  const auto shown = [](std::initializer_list<double> numbers) {
    Texts texts;
    for (const double number : numbers) texts.push_back(fiber::detail::float_repr(number));
    return texts;
  };
  constexpr double kInf = std::numeric_limits<double>::infinity();
  CHECK(shown({0.1, 1.0, 100.0, -0.0, 0.30000000000000004, 123456789.123}) ==
        Texts{"0.1", "1.0", "100.0", "-0.0", "0.30000000000000004", "123456789.123"});
  CHECK(shown({1e-4, 1e-5, 5e-324, 1e15, 9999999999999998.0, 1e16, 1.5e300}) ==
        Texts{"0.0001", "1e-05", "5e-324", "1000000000000000.0", "9999999999999998.0", "1e+16",
              "1.5e+300"});
  CHECK(shown({1.7976931348623157e308, kInf, -kInf, std::nan(""), -std::nan("")}) ==
        Texts{"1.7976931348623157e+308", "inf", "-inf", "nan", "nan"});
  CHECK(fiber::detail::fixed(2.0 / 3, 3) == "0.667");
  CHECK(fiber::detail::fixed(-kInf, 3) == "-inf");
  const asyncio::Queue<double> queue;
  for (const double number : {1e-05, 1e16, 0.1234567890123}) queue.put_nowait(number);
  CHECK(between(queue.repr(), "_queue=", " tasks") == "[1e-05, 1e+16, 0.1234567890123]");
}

TEST_CASE("a text is shown with Python's quotes and escapes") {
  const auto shown = [](std::initializer_list<const char*> given) {
    Texts texts;
    for (const char* text : given) texts.push_back(fiber::detail::quoted(text));
    return texts;
  };
  CHECK(shown({"", "a'b", "a'b\"", "back\\", "\n\t\r\x1b\x7f"}) ==
        Texts{"''", "\"a'b\"", "'a\\'b\"'", "'back\\\\'", "'\\n\\t\\r\\x1b\\x7f'"});
  CHECK(fiber::detail::quoted(std::string(1, '\0')) == "'\\x00'");
  CHECK(shown({"\u00e4\u20ac\U0001f600", "\u0085\u00a0\u00ad", "\u200b\u2028\ue000",
               "\U000e0001"}) == Texts{"'\u00e4\u20ac\U0001f600'", "'\\x85\\xa0\\xad'",
                                       "'\\u200b\\u2028\\ue000'", "'\\U000e0001'"});
  // Bytes that are no UTF-8: a lone one, a long form, a surrogate, an end in the middle.
  CHECK(shown({"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xe2\x82"}) ==
        Texts{"'\\udcff'", "'\\udcc0\\udcaf'", "'\\udced\\udca0\\udc80'", "'\\udce2\\udc82'"});
}

TEST_CASE("reprs quote the texts in them as Python does") {
  const std::string odd = "it's\n";
  const std::string quoted = "\"it's\\n\"";
  const std::exception_ptr error = std::make_exception_ptr(fiber::ValueError(odd));
  CHECK(fiber::repr(error) == "ValueError(" + quoted + ")");
  CHECK(fiber::repr(fiber::make_exception_group(odd, {error})) ==
        "ExceptionGroup(" + quoted + ", [ValueError(" + quoted + ")])");
  CHECK(repr(fiber::contextvars::ContextVar<int>(odd)).starts_with("<ContextVar name=" + quoted));
  const fiber::Generator<int> generator([](auto& self) { self.yield(1); }, {.name = odd});
  CHECK(repr(generator).starts_with("<generator " + quoted + " at"));
  const fiber::greenlet g([] {}, {.name = odd});
  CHECK(repr(g).find(" " + quoted + " pending") != std::string::npos);
  CHECK(repr(asyncio::SocketAddress::from_path(odd)) == quoted);
  CHECK(repr(asyncio::SocketAddress("127.0.0.1", 80)) == "('127.0.0.1', 80)");
  run([&] {
    const auto task =
        asyncio::create_task([] { return asyncio::format_call_graph(); }, {.name = odd});
    CHECK(await(task).starts_with("* Task(name=" + quoted + ", id=0x"));
    CHECK(repr(task).find(" name=" + quoted + " ") != std::string::npos);
  });
  CHECK(asyncio::str(asyncio::Stall{.task = odd}).find(": task " + quoted) != std::string::npos);
}

TEST_CASE("what() of groups in groups is bounded") {
  CHECK(what(nested(2)) ==
        "level (1 sub-exception): ExceptionGroup: level (1 sub-exception): ValueError: innermost");
  const std::string deep = what(nested(1000));
  CHECK(deep.size() < 2200);
  CHECK(deep.ends_with("..."));
  // The group's own message is never cut, and no character in the middle.
  const std::string message(5000, 'm');
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "\u20ac";
  const std::string wide = what(
      fiber::make_exception_group(message, {std::make_exception_ptr(fiber::ValueError(text))}));
  CHECK(wide.starts_with(message + " (1 sub-exception): ValueError: \u20ac"));
  CHECK(wide.ends_with("\u20ac..."));
  CHECK(wide.size() < message.size() + 2200);
  CHECK(fiber::detail::quoted(wide).find("\\udc") == std::string::npos);
}
