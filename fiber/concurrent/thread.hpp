// Python's concurrent.futures.ThreadPoolExecutor.
#pragma once

#include <fiber/concurrent/executor.hpp>
#include <fiber/config.hpp>
#include <fiber/standard.hpp>

#include <optional>
#include <string>

namespace fiber::concurrent::futures {

/// The initializer of a worker thread threw: pending work does not run any more.
class FIBER_API BrokenThreadPool : public BrokenExecutor {
 public:
  using BrokenExecutor::BrokenExecutor;
  ~BrokenThreadPool() override;
};

/// Keyword arguments of ThreadPoolExecutor.
struct ThreadPoolOptions {
  std::optional<int> max_workers = {};     ///< default: min(32, processors + 4)
  std::string thread_name_prefix = {};     ///< default: "ThreadPoolExecutor-N"
  std::function<void()> initializer = {};  ///< called first in each thread
};

/// Runs calls in threads of its own, in the order of submission. A thread is started only when a
/// call comes in, no thread is idle, and there are fewer than max_workers; in that case the call's
/// future is running at once, unless an initializer runs first. Threads are called PREFIX_0,
/// PREFIX_1, ...; the system keeps only 15 characters, so a long prefix is cut.
class FIBER_API ThreadPoolExecutor final : public Executor {
 public:
  /// Throws ValueError if max_workers is not positive.
  explicit ThreadPoolExecutor(ThreadPoolOptions options = {});
  /// Waits for all work; see Executor.
  ~ThreadPoolExecutor() override;

  void shutdown(ShutdownOptions options = {}) override;
  /// For the layers above: whether a thread of this executor has not ended yet.
  bool has_threads() const noexcept;

 protected:
  void submit_work(std::unique_ptr<Work> work) override;

 private:
  class Threads;
  std::shared_ptr<Threads> threads_;
};

}  // namespace fiber::concurrent::futures
