// The program under the gdb commands: greenlets and tasks of two threads, at rest. With the
// argument `abort` it leaves a core file; with `mprotect` its stacks are guarded by mprotect().
#include <fiber/asyncio.hpp>
#include <fiber/greenlet.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <latch>
#include <string>
#include <thread>

#include <unistd.h>

using fiber::getcurrent;
using fiber::greenlet;
using namespace fiber::asyncio;
using namespace std::chrono_literals;

namespace gdb_test {

volatile int after = 0;

__attribute__((noinline)) int wait_for_work(int number) {
  const int got = getcurrent().parent().switch_().as<int>();
  after = after + 1;
  return number + got;
}
bool aborts = false;
__attribute__((noinline)) void stop_here() {
  if (aborts) std::abort();
  after = after + 1;
}
__attribute__((noinline)) void run_here() {
  stop_here();
  after = after + 1;
}
__attribute__((noinline)) int fetch() {
  await(sleep(1000s));
  after = after + 1;
  return 1;
}

// Blocks in the selector once all its tasks wait.
void serve(std::latch& ready) {
  const greenlet elsewhere([] { return wait_for_work(2); }, {.name = "elsewhere"});
  elsewhere.switch_();
  run([&] {
    auto client = create_task([] { return fetch(); }, {.name = "client"});
    auto server = create_task([&] { return await(client); }, {.name = "server"});
    auto unstarted = create_task([] {});
    await(unstarted);
    get_running_loop().call_later(1ms, [&] { ready.count_down(); });
    await(server);
  });
}

}  // namespace gdb_test

int main(int argc, char** argv) {
  const std::string argument = argc > 1 ? argv[1] : "";
  gdb_test::aborts = argument == "abort";
  if (argument == "mprotect") fiber::core::stack_limits().guard_install = false;
  std::latch ready(1);
  std::thread([&] { gdb_test::serve(ready); }).detach();
  ready.wait();
  const greenlet worker([] { return gdb_test::wait_for_work(1); }, {.name = "worker"});
  worker.switch_();
  greenlet([] { gdb_test::run_here(); }, {.name = "runner"}).switch_();
  std::printf("worker returned %d\n", worker.switch_(41).as<int>());
  std::fflush(nullptr);
  ::_exit(0);
}
