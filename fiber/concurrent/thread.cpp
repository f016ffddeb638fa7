#include <fiber/concurrent/thread.hpp>

#include <fiber/concurrent/pool.hpp>
#include <fiber/core/signal_mask.hpp>
#include <fiber/cxxabi.hpp>
#include <fiber/exceptions/error_from.hpp>
#include <fiber/platform/thread.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

namespace fiber::concurrent::futures {

BrokenThreadPool::~BrokenThreadPool() = default;

namespace {

// The place where idle threads sleep; each ring wakes one. In place of std::condition_variable,
// whose book-keeping of waiters costs a third system call for each entry that a sleeping thread
// takes.
class Bell {
 public:
  Bell() noexcept { ::sem_init(&rings_, 0, 0); }
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;
  ~Bell() { ::sem_destroy(&rings_); }

  void ring() noexcept { ::sem_post(&rings_); }
  void wait() {
    while (::sem_wait(&rings_) != 0 && errno == EINTR) continue;
  }

 private:
  sem_t rings_;
};

}  // namespace

// The state shared by the executor and its threads. Invariants, under mutex_:
// 1. available_ counts the threads that will look into queue_ next: those that wait, and those
//    that have just been started.
//  2. queue_ is longer than available_ only when the system refuses more threads.
//  3. bell_ has rung at least once for each entry, and after the shutdown for each thread.
class ThreadPoolExecutor::Threads final : public detail::Pool,
                                          public std::enable_shared_from_this<Threads> {
 public:
  explicit Threads(ThreadPoolOptions options)
      : max_workers_(detail::checked_max_workers(options.max_workers,
                                                 std::min(32, detail::process_cpu_count() + 4))),
        prefix_(std::move(options.thread_name_prefix)),
        initializer_(std::move(options.initializer)) {
    static std::atomic<int> counter{0};
    if (prefix_.empty()) prefix_ = "ThreadPoolExecutor-" + std::to_string(counter++);
  }

  // Runs on the last thread when the executor did not wait.
  ~Threads() override {
    for (std::thread& thread : threads_) {
      if (thread.get_id() == std::this_thread::get_id())
        thread.detach();
      else if (thread.joinable())
        thread.join();
    }
  }

  void submit(std::unique_ptr<Work> work) {
    if (forked())
      throw RuntimeError(
          "the threads of this executor are those of the parent process: make an executor of your "
          "own after fork()");
    std::list<Entry> entry;
    entry.push_back({std::move(work)});
    {
      const std::lock_guard lock(mutex_);
      if (broken_) throw broken_pool();
      if (shutdown_) throw RuntimeError("cannot schedule new futures after shutdown");
      queue_.splice(queue_.end(), entry);
      if (queue_.size() > available_ && started_ < max_workers_) start_thread();
    }
    // A thread that woke up under the mutex would have to wait for it.
    bell_.ring();
  }

  bool any_alive() const noexcept { return !forked() && alive_ != 0; }

 private:
  void refuse_work(ShutdownOptions options) override {
    std::list<Entry> cancelled;
    {
      const std::lock_guard lock(mutex_);
      shutdown_ = true;
      wait_in_destructor_ = options.wait;
      if (options.cancel_futures) cancelled = remove_pending();
      for (int i = 0; i < started_; ++i) bell_.ring();
    }
    for (const Entry& entry : cancelled) detail::cancel(entry.work->future());
  }
  void join() override {  // threads_ does not grow after the shutdown
    for (std::thread& thread : threads_)
      if (thread.joinable()) thread.join();
  }

  struct Entry {
    std::unique_ptr<Work> work;
    bool started = false;  // its future is running already
  };

  // Counts a thread from before its start to its end, however it ends.
  class Alive {
   public:
    explicit Alive(std::atomic<int>& count) noexcept : count_(&count) { ++count; }
    Alive(Alive&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
    Alive& operator=(Alive&&) = delete;
    ~Alive() {
      if (count_ != nullptr) --*count_;
    }

   private:
    std::atomic<int>* count_;
  };

  bool is_own_thread() const noexcept override { return current_ == this; }
  // Returns true in a child process: it has no threads, and one of them may have held the mutex.
  bool forked() const noexcept override { return process_ != ::getpid(); }

  static BrokenThreadPool broken_pool() {
    return BrokenThreadPool("A thread initializer failed, the thread pool is not usable anymore");
  }

  // Starts a thread. Called with mutex_ held. Throws std::system_error, std::bad_alloc.
  void launch() {
    // The number tells threads apart, so a long prefix is cut.
    const std::string suffix = '_' + std::to_string(started_);
    const std::string name = prefix_.substr(0, name_limit - suffix.size()) + suffix;
    threads_.reserve(threads_.size() + 1);
    const core::SignalsBlocked blocked;
    threads_.emplace_back(
        [self = shared_from_this(), alive = Alive(alive_), name, mask = blocked.before()] {
          platform::name_thread(name.c_str());
          core::keep_mask_for_children(mask);
          current_ = self.get();
          self->run_thread();
        });
    ++started_;
    ++available_;
  }

  // Starts a thread for a new entry at the end of queue_. Called with mutex_ held.
  void start_thread() {
    try {
      launch();
    } catch (const std::exception& error) {
      if (started_ != 0) return;  // the other threads will do the work
      queue_.pop_back();
      if (dynamic_cast<const std::system_error*>(&error) == nullptr) throw;
      throw RuntimeError("can't start new thread");
    }
    // In CPython, whose submit() waits for the thread to start, the future is seen running. With an
    // initializer, work does not start yet.
    if (!initializer_)
      queue_.back().started = queue_.back().work->future().set_running_or_notify_cancel();
  }

  void run_thread() {
    if (initializer_ && !initialize()) return;
    for (;;) {
      bell_.wait();
      std::unique_lock lock(mutex_);
      if (queue_.empty() && !shutdown_) continue;  // the entry was cancelled
      --available_;
      if (queue_.empty()) return;
      Entry entry = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      run(std::move(entry));
      lock.lock();
      ++available_;
    }
  }

  void run(Entry entry) {
    try {
      entry.started ? entry.work->run_started() : entry.work->run();
    } catch (const fiber::detail::forced_unwind&) {
      replace_thread();
      throw;
    } catch (...) {
      detail::report("Exception in worker");
    }
  }

  // Replaces this thread, whose work has called pthread_exit: another thread does the remaining
  // work.
  void replace_thread() {
    std::list<Entry> lost;
    {
      const std::lock_guard lock(mutex_);
      --started_;
      if (queue_.empty()) return;
      if (!shutdown_) {
        try {
          launch();
          return;
        } catch (const std::exception&) {
          // The other threads will do the remaining work, if there are any.
        }
      }
      if (started_ != 0) return;  // a thread made now would not be joined; others do it
      lost.swap(queue_);
    }
    for (const Entry& entry : lost) detail::thread_ends(entry.work->future());
  }

  bool initialize() {
    try {
      initializer_();
      return true;
    } catch (const fiber::detail::forced_unwind&) {
      give_up();
      throw;
    } catch (...) {
      detail::report("Exception in initializer:");
    }
    give_up();
    return false;
  }

  // Fails all work: the initializer has failed.
  void give_up() {
    std::list<Entry> lost;
    {
      const std::lock_guard lock(mutex_);
      --available_;
      broken_ = true;
      lost = remove_pending();
    }
    for (const Entry& entry : lost)
      detail::fail(entry.work->future(), fiber::detail::error_from([] { return broken_pool(); }));
  }

  std::list<Entry> remove_pending() noexcept {
    std::list<Entry> pending;
    for (auto at = queue_.begin(); at != queue_.end();) {
      const auto entry = at++;
      if (!entry->started) pending.splice(pending.end(), queue_, entry);
    }
    return pending;
  }

  static constexpr std::size_t name_limit = 15;
  static thread_local const Threads* current_;

  const pid_t process_ = ::getpid();
  const int max_workers_;
  std::string prefix_;
  const std::function<void()> initializer_;
  Bell bell_;
  std::list<Entry> queue_;  // a list: taking out needs no memory
  std::size_t available_ = 0;
  int started_ = 0;
  bool broken_ = false;
  std::atomic<int> alive_{0};  // threads that have not ended
  std::vector<std::thread> threads_;
};

thread_local const ThreadPoolExecutor::Threads* ThreadPoolExecutor::Threads::current_ = nullptr;

ThreadPoolExecutor::ThreadPoolExecutor(ThreadPoolOptions options)
    : threads_(std::make_shared<Threads>(std::move(options))) {
  detail::finish_at_exit(threads_);
}

ThreadPoolExecutor::~ThreadPoolExecutor() { threads_->finish(threads_->wait_in_destructor()); }

void ThreadPoolExecutor::shutdown(ShutdownOptions options) { threads_->shutdown(options); }

bool ThreadPoolExecutor::has_threads() const noexcept { return threads_->any_alive(); }

void ThreadPoolExecutor::submit_work(std::unique_ptr<Work> work) {
  threads_->submit(std::move(work));
}

}  // namespace fiber::concurrent::futures
