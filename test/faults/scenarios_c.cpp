// The interface for C.
#include "harness.hpp"

#include <fiber/exceptions.hpp>
#include <fiber/fiber.h>

#include <new>
#include <string>

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

}  // namespace

FAULTS_SCENARIO(c_tasks) {
  int value = 7;
  void* result = nullptr;
  // The text of the last error stays: leave that of this failure, from the first run on.
  struct LastError {
    ~LastError() { fiber_sleep(0); }
  } last_error;
  check(fiber_run(spawns, &value, &result));
  require(result == &value, "the result of a C task");
}
