// The locale of the thread, while tasks have their own.
#include <locale.h>

#include "monkey/support.hpp"

using namespace monkey_test;

namespace {

struct Locale {
  locale_t its = ::newlocale(LC_ALL_MASK, "C.UTF-8", nullptr);
  Locale() = default;
  Locale(const Locale&) = delete;
  Locale& operator=(const Locale&) = delete;
  ~Locale() { ::freelocale(its); }
};

locale_t now() { return ::uselocale(nullptr); }

// Sets a locale, waits, and sets the one before again.
void wait_with(const Locale& locale) {
  const locale_t before = ::uselocale(locale.its);
  calls::usleep(1000);
  CHECK(now() == locale.its);
  ::uselocale(before);
}

}  // namespace

TEST_CASE("while a task waits, others have the locale that code outside of tasks has set last") {
  const Patch patch;
  const support::AtEnd restore([] { ::uselocale(LC_GLOBAL_LOCALE); });
  const Locale own, first, second, third;
  ::uselocale(first.its);
  asyncio::run([&] { wait_with(own); });
  ::uselocale(second.its);
  asyncio::run([&] {
    auto task = start([&] { wait_with(own); });
    await(asyncio::sleep(0ms));
    CHECK(now() == second.its);
    await(task);
    asyncio::get_running_loop().call_soon([&] { ::uselocale(third.its); });
    await(asyncio::sleep(0ms));
    task = start([&] { wait_with(own); });
    await(asyncio::sleep(0ms));
    CHECK(now() == third.its);
    await(task);
    CHECK(now() == third.its);
  });
  CHECK(now() == third.its);
}
