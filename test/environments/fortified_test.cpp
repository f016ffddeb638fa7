// Compiled with -O2 -D_FORTIFY_SOURCE=2: libc's checked functions on the stacks of fibers.
#include <fiber/asyncio.hpp>
#include <fiber/generator.hpp>

#include <doctest/doctest.h>

#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <string>

#include <poll.h>
#include <unistd.h>

#if !defined(_FORTIFY_SOURCE) || _FORTIFY_SOURCE != 2 || !defined(__OPTIMIZE__)
#error "this file is to be compiled with -O2 -D_FORTIFY_SOURCE=2"
#endif

namespace asyncio = fiber::asyncio;
using asyncio::await;

namespace {

// Jumps out of inner frames, as error handling in C libraries (libpng, Lua) does. The compiler does
// not know the size, so that the call is checked at run time.
std::jmp_buf recover;
[[gnu::noinline]] void fails(std::size_t size, const char* text) {
  char buffer[100];
  std::memcpy(buffer, text, size);
  buffer[size] = '\0';
  if (buffer[0] == 'x') std::longjmp(recover, 7);
}
[[gnu::noinline]] int recovers(const char* text) {
  const int error = setjmp(recover);
  if (error == 0) fails(std::strlen(text), text);
  return error;
}

}  // namespace

TEST_CASE("longjmp stays on the stack of its fiber") {
  const fiber::greenlet g([](const std::string& text) { return recovers(text.c_str()); });
  CHECK(g.switch_(std::string("x")).as<int>() == 7);
  const fiber::Generator<int> errors = [](auto& self) {
    self.yield(recovers("fine"));
    self.yield(recovers("x"));
  };
  CHECK(errors.next() == 0);
  CHECK(errors.next() == 7);
  asyncio::run([] {
    const auto task = asyncio::create_task([] { return recovers("x"); });
    CHECK(await(task) == 7);
  });
}

TEST_CASE("checked reads, polls and formats work in a fiber") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  asyncio::run([&] {
    std::array<char, 16> buffer{};
    volatile std::size_t size = 5;
    CHECK(::write(ends[1], "hello", size) == 5);
    std::array<pollfd, 1> entries{{{ends[0], POLLIN, 0}}};
    volatile nfds_t count = 1;
    CHECK(::poll(entries.data(), count, 0) == 1);
    CHECK(::read(ends[0], buffer.data(), size) == 5);
    char text[20];
    std::snprintf(text, size + 10, "%s-%d", buffer.data(), 42);
    CHECK(std::string(text) == "hello-42");
  });
  ::close(ends[0]);
  ::close(ends[1]);
}
