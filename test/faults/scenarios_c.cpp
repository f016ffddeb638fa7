// The interface for C.
#include "harness.hpp"

#include <fiber/exceptions.hpp>
#include <fiber/fiber.h>

#include <new>
#include <string>

#include <fcntl.h>
#include <unistd.h>

using faults::require;

namespace {

// Throws the exception that a status stands for.
void check(int status) {
  if (status == FIBER_OK) return;
  if (status == FIBER_NO_MEMORY) throw std::bad_alloc();
  throw fiber::RuntimeError("status " + std::to_string(status));
}

int sleeps(void* argument, void** result) {
  for (int i = 0; i < 3; ++i)
    if (const int status = fiber_sleep(0); status != FIBER_OK) return status;
  *result = argument;
  return FIBER_OK;
}

int spawns(void* argument, void** result) {
  fiber_future* task = nullptr;
  if (const int status = fiber_spawn(&task, sleeps, argument, "a task"); status != FIBER_OK)
    return status;
  const int status = fiber_await(task, FIBER_NO_LIMIT, result);
  fiber_future_unref(task);
  return status;
}

// A future of a scenario in C, given back whatever fails.
struct Future {
  fiber_future* its = nullptr;
  ~Future() { fiber_future_unref(its); }
};
struct Greenlet {
  fiber_greenlet* its = nullptr;
  ~Greenlet() { fiber_greenlet_unref(its); }
};
struct Loop {
  fiber_loop* its = nullptr;
  ~Loop() {
    if (its != nullptr) require(fiber_loop_close(its) == FIBER_OK, "closing acquires nothing");
    fiber_loop_unref(its);
  }
};
struct Pipe {
  Pipe() {
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::bad_alloc();
  }
  ~Pipe() {
    for (const int end : ends) ::close(end);
  }
  int ends[2] = {-1, -1};
};
// Leaves the text of this failure for the next run to start with.
struct LastError {
  ~LastError() { fiber_sleep(0); }
};

int hands_back(void* argument, void** sent) {
  auto* parent = static_cast<fiber_greenlet*>(argument);
  for (;;)
    if (const int status = fiber_greenlet_switch(parent, *sent, sent); status != FIBER_OK)
      return status;
}

int waits_for_pipe(void* argument, void**) {
  int ready = 0;
  const auto& pipe = *static_cast<const Pipe*>(argument);
  const int status = fiber_wait_fd(pipe.ends[0], FIBER_READABLE, FIBER_SECOND * 10, &ready);
  require(status != FIBER_OK || ready == FIBER_READABLE, "the event that was waited for");
  return status;
}

int waits_and_blocks(void*, void** result) {
  Pipe pipe;
  Future reader;
  int status = fiber_spawn(&reader.its, waits_for_pipe, &pipe, "reader");
  if (status != FIBER_OK) return status;
  status = fiber_to_thread(
      [](void* to) -> void* {
        return ::write(static_cast<Pipe*>(to)->ends[1], "x", 1) == 1 ? to : nullptr;
      },
      &pipe, result);
  if (status == FIBER_OK) status = fiber_await(reader.its, FIBER_SECOND * 10, nullptr);
  // The pipe may not go before the task that waits for it.
  if (!fiber_future_done(reader.its)) {
    fiber_future_cancel(reader.its);
    fiber_sleep(0);
    fiber_sleep(0);
    require(fiber_future_done(reader.its) == 1, "a cancelled wait ends");
  }
  return status;
}

void ends_future(void* future) {
  fiber_future_set_result(static_cast<fiber_future*>(future), future);
}

}  // namespace

FAULTS_SCENARIO(c_tasks) {
  int value = 7;
  void* result = nullptr;
  const LastError last_error;
  check(fiber_run(spawns, &value, &result));
  require(result == &value, "the result of a C task");
}

FAULTS_SCENARIO(c_greenlets) {
  const LastError last_error;
  fiber_greenlet* here = fiber_greenlet_current();
  if (here == nullptr) throw std::bad_alloc();
  Greenlet echo;
  fiber_greenlet_options options{};
  options.size = sizeof options;
  options.stack_size = 128 * 1024;
  options.name = "a greenlet with a name that takes memory";
  check(fiber_greenlet_new(&echo.its, hands_back, here, &options));
  int value = 0;
  for (void* sent : {static_cast<void*>(&value), static_cast<void*>(&options)}) {
    void* received = nullptr;
    check(fiber_greenlet_switch(echo.its, sent, &received));
    require(received == sent, "what a greenlet sends back");
  }
  require(fiber_greenlet_throw(echo.its, 77, nullptr) != FIBER_OK, "a status that is thrown");
  Greenlet second;
  check(fiber_greenlet_new(&second.its, hands_back, here, nullptr));
  check(fiber_greenlet_switch(second.its, nullptr, nullptr));
  check(fiber_greenlet_kill(second.its));
  require(fiber_greenlet_dead(second.its) == 1, "a killed greenlet");
}

FAULTS_SCENARIO(c_descriptors_and_threads) {
  const LastError last_error;
  void* result = nullptr;
  check(fiber_run(waits_and_blocks, nullptr, &result));
  require(result != nullptr, "what the thread returned");
}

FAULTS_SCENARIO(c_foreign_loops) {
  const LastError last_error;
  Future future, task;
  {
    Loop loop;
    check(fiber_loop_new(&loop.its));
    check(fiber_loop_future_new(loop.its, &future.its));
    const auto waits = [](void* its, void** got) {
      return fiber_await(static_cast<fiber_future*>(its), FIBER_NO_LIMIT, got);
    };
    check(fiber_loop_spawn(loop.its, &task.its, waits, future.its, "waits"));
    if (fiber_loop_fileno(loop.its) < 0) check(FIBER_NO_MEMORY);
    check(fiber_loop_run_ready(loop.its));
    check(fiber_loop_post(loop.its, ends_future, future.its));
    for (int i = 0; i < 10 && fiber_future_done(task.its) == 0; ++i)
      check(fiber_loop_run_ready(loop.its));
    void* result = nullptr;
    check(fiber_future_result(task.its, &result));
    require(result == future.its, "the result of a task in a foreign loop");
  }
}
