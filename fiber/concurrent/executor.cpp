#include <fiber/concurrent/executor.hpp>

#include <fiber/exceptions/error_from.hpp>
#include <fiber/platform/thread.hpp>

#include <algorithm>
#include <new>

#include <unistd.h>

namespace fiber::concurrent::futures {

BrokenExecutor::~BrokenExecutor() = default;
Executor::~Executor() = default;
Work::~Work() = default;

void Work::run() {
  if (future().set_running_or_notify_cancel()) run_started();
}

namespace detail {
void fail(const FutureBase& future, std::exception_ptr error) {
  try {  // the user may have ended the future
    if (!future.running() && !future.set_running_or_notify_cancel()) return;
    future.set_exception(std::move(error));
  } catch (...) {
    report("Exception in worker");
  }
}

void thread_ends(const FutureBase& future) {
  fail(future, fiber::detail::error_from([] {
         return RuntimeError("the call has ended its thread, by pthread_exit, without a result");
       }));
}

void cancel(const FutureBase& future) {
  // CPython leaves out the second step, so that wait() never returns for such a future.
  if (future.cancel()) future.set_running_or_notify_cancel();
}

int process_cpu_count() { return platform::usable_processors(); }

int checked_max_workers(std::optional<int> max_workers, int fallback) {
  const int workers = max_workers.value_or(fallback);
  if (workers <= 0) throw ValueError("max_workers must be greater than 0");
  return workers;
}

}  // namespace detail
}  // namespace fiber::concurrent::futures
