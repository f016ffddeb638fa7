#include <fiber/concurrent/process.hpp>

#include <fiber/concurrent/pool.hpp>
#include <fiber/concurrent/process_worker.hpp>
#include <fiber/concurrent/remote_error.hpp>
#include <fiber/core/signal_mask.hpp>
#include <fiber/platform/thread.hpp>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <condition_variable>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fiber::concurrent::futures {

BrokenProcessPool::~BrokenProcessPool() = default;
detail::RemoteWork::~RemoteWork() = default;

using detail::Descriptor;
using detail::Message;

namespace {

// Returns false for a future that is not to run: it was cancelled, or the user has ended it.
bool begins(const FutureBase& future) noexcept {
  try {
    return future.set_running_or_notify_cancel();
  } catch (...) {
    detail::report("Exception in worker");
    return false;
  }
}

}  // namespace

// The state shared by the executor and the manager thread, which forks the workers, hands them
// calls, and waits for their replies and their end. A worker has one call at a time. Moving a call
// from list to list, and failing it, needs no memory beyond that of the call: when memory is short
// the manager goes on; only a reply that cannot be stored breaks the pool.
class ProcessPoolExecutor::Processes final : public detail::Pool,
                                             public std::enable_shared_from_this<Processes> {
 public:
  struct Job {
    std::unique_ptr<detail::RemoteWork> work;
    Message reply = {};  // once it has come
  };
  using Jobs = std::list<Job>;

  explicit Processes(ProcessPoolOptions options)
      : max_workers_(detail::checked_max_workers(options.max_workers, detail::process_cpu_count())),
        initializer_(std::move(options.initializer)) {}

  // Runs on the manager when the executor did not wait.
  ~Processes() override {
    if (manager_.joinable()) manager_.detach();
  }

  void submit(std::unique_ptr<detail::RemoteWork> work) {
    if (forked())
      throw RuntimeError(
          "the workers of this executor are those of the parent process: make an executor of your "
          "own after fork()");
    Jobs one;
    one.push_back({std::move(work)});
    const std::lock_guard lock(mutex_);
    if (broken_) {
      throw BrokenProcessPool(
          "A child process terminated abruptly, the process pool is not usable anymore");
    }
    if (shutdown_) throw RuntimeError("cannot schedule new futures after shutdown");
    if (!started_) start();
    pending_.splice(pending_.end(), one);
    admit();
    wake();
  }

 private:
  void refuse_work(ShutdownOptions options) override {
    Jobs cancelled;
    {
      const std::lock_guard lock(mutex_);
      shutdown_ = true;
      wait_in_destructor_ = options.wait;
      if (options.cancel_futures) cancelled.swap(pending_);
      if (started_) wake();
    }
    for (const Job& job : cancelled) detail::cancel(job.work->future());
  }
  void join() override {
    if (manager_.joinable()) manager_.join();
  }

  struct Worker {
    pid_t pid;
    Descriptor socket;
    Descriptor process;  // readable when the worker has ended; none before Linux 5.3
    Jobs job = {};       // the call it is doing: one, or none
  };

  // The outcome of forking the workers, for the thread that waits for it. Not a std::promise:
  // dropping one needs memory, and ends the process without.
  struct Forking {
    std::exception_ptr error;

    void wait() {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return ended_; });
    }
    // Notifies under the lock: the other thread may destroy this as soon as the lock is free.
    void end(std::exception_ptr why) noexcept {
      const std::lock_guard lock(mutex_);
      error = std::move(why);
      ended_ = true;
      changed_.notify_one();
    }

   private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool ended_ = false;
  };

  bool is_own_thread() const noexcept override { return current_ == this; }
  // Returns true in a worker, and in another child process that is younger than the workers: it has
  // no manager, and one of the parent's threads may have held the mutex.
  bool forked() const noexcept override {
    const pid_t starter = starter_;
    return starter != 0 && starter != ::getpid();
  }

  void wake() {
    const std::uint64_t one = 1;
    while (write(wake_.get(), &one, sizeof one) < 0 && errno == EINTR) {
    }
  }

  // Fills the places for running futures. Called with mutex_ held.
  void admit() {
    while (running_ <= max_workers_ && !pending_.empty()) {
      if (begins(pending_.front().work->future())) {
        ready_.splice(ready_.end(), pending_, pending_.begin());
        ++running_;
      } else {
        pending_.pop_front();
      }
    }
  }

  // Returns when the workers have been forked. Called with mutex_ held.
  void start() {
    const platform::Uncancelled guard;  // the manager writes to this stack
    detail::flush_output();
    broken_error_ = std::make_exception_ptr(
        BrokenProcessPool("A process in the process pool was terminated abruptly while the future "
                          "was running or pending."));
    workers_.reserve(static_cast<std::size_t>(max_workers_));
    polled_.reserve(1 + 2 * static_cast<std::size_t>(max_workers_));
    wake_ = Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (wake_.get() < 0) raise_os_error(errno, "eventfd");
    Forking forking;
    starter_ = ::getpid();
    // Signals are for the program's threads; workers get the submitting thread's mask.
    try {
      const core::SignalsBlocked blocked;
      const sigset_t signals = blocked.before();
      manager_ = std::thread([self = shared_from_this(), signals, &forking] {
        pthread_setname_np(pthread_self(), "ProcessPool");
        current_ = self.get();
        self->run_manager(signals, forking);
      });
    } catch (const std::system_error&) {
      starter_ = 0;
      throw RuntimeError("can't start new thread");
    } catch (...) {
      starter_ = 0;
      throw;
    }
    forking.wait();
    if (forking.error) {
      starter_ = 0;
      manager_.join();
      std::rethrow_exception(forking.error);
    }
    started_ = true;
  }

  void run_manager(const sigset_t& signals, Forking& forking) {
    try {
      fork_workers(signals);
    } catch (...) {
      end_workers(false);
      forking.end(std::current_exception());
      return;
    }
    forking.end(nullptr);
    bool healthy = true;
    while (healthy && !finished()) healthy = hand_out() && collect();
    if (healthy)
      end_workers(true);
    else
      give_up();
  }

  void fork_workers(const sigset_t& signals) {
    const std::lock_guard lock(detail::open_descriptors().mutex);
    const pid_t parent = getpid();
    for (int i = 0; i < max_workers_; ++i) {
      int ends[2];
      if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        raise_os_error(errno, "socketpair");
      Descriptor ours;
      try {
        ours = Descriptor(ends[0]);
      } catch (...) {
        close(ends[1]);
        throw;
      }
      Worker& worker = workers_.emplace_back(Worker{-1, std::move(ours), Descriptor()});
      worker.pid = fork();
      if (worker.pid == 0) detail::run_worker(ends[1], parent, signals, initializer_);
      const int error = errno;
      close(ends[1]);
      if (worker.pid < 0) raise_os_error(error, "fork");
      worker.process = Descriptor(static_cast<int>(syscall(SYS_pidfd_open, worker.pid, 0)));
    }
  }

  bool finished() {
    const std::lock_guard lock(mutex_);
    admit();
    return shutdown_ && running_ == 0 && pending_.empty();
  }

  // Gives calls to idle workers. Returns false if one of them is gone.
  bool hand_out() {
    for (Worker& worker : workers_) {
      if (!worker.job.empty()) continue;
      {
        const std::lock_guard lock(mutex_);
        if (ready_.empty()) return true;
        worker.job.splice(worker.job.end(), ready_, ready_.begin());
      }
      if (!detail::send(worker.socket.get(), Message::CALL,
                        worker.job.front().work->take_request()))
        return false;
    }
    return true;
  }

  // Waits for an event and takes the replies that have come. Returns false if a worker is gone.
  bool collect() {
    polled_.assign(1, {wake_.get(), POLLIN, 0});
    for (const Worker& worker : workers_) {
      polled_.push_back({worker.socket.get(), POLLIN, 0});
      polled_.push_back({worker.process.get(), POLLIN, 0});
    }
    if (!wait_for_event()) return false;
    std::uint64_t wakes;
    [[maybe_unused]] const ssize_t drained = read(wake_.get(), &wakes, sizeof wakes);

    bool healthy = true;
    Jobs done;
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      if (polled_[1 + 2 * i].revents != 0 && receive(workers_[i]))
        done.splice(done.end(), workers_[i].job);
      else if (polled_[1 + 2 * i].revents != 0 || polled_[2 + 2 * i].revents != 0)
        healthy = false;
    }
    {
      const std::lock_guard lock(mutex_);
      running_ -= static_cast<int>(done.size());
      admit();
    }
    // The workers go on while callbacks run here.
    healthy = healthy && hand_out();
    for (Job& job : done) settle(*job.work, std::move(job.reply));
    return healthy;
  }

  // Returns false if poll() refuses: the program may have lowered its limit of open files below the
  // number of the pool's descriptors.
  bool wait_for_event() {
    while (poll(polled_.data(), polled_.size(), -1) < 0) {
      if (errno == EINTR || errno == ENOMEM) continue;
      try {
        raise_os_error(errno, "poll");
      } catch (...) {
        detail::report("Exception in the manager of a process pool:");
      }
      return false;
    }
    return true;
  }

  static bool receive(Worker& worker) {
    if (worker.job.empty()) return false;  // the worker has ended
    try {
      return detail::receive(worker.socket.get(), worker.job.front().reply);
    } catch (const std::exception&) {
      return false;  // no memory for the reply
    }
  }

  static void settle(detail::RemoteWork& job, Message reply) {
    try {
      if (reply.kind == Message::ERROR)
        job.future().set_exception(detail::load_error(reply.body));
      else
        job.set_result(std::move(reply.body));
    } catch (...) {
      if (job.future().done())  // from a callback
        detail::report("Exception in worker");
      else  // the result could not be read
        detail::fail(job.future(), std::current_exception());
    }
  }

  void end_workers(bool healthy) {
    for (const Worker& worker : workers_) {
      if (worker.pid < 0) continue;
      // A shutdown reaches the worker even if another process has inherited this end of its socket.
      if (healthy)
        ::shutdown(worker.socket.get(), SHUT_WR);
      else
        kill(worker.pid, SIGKILL);
    }
    for (const Worker& worker : workers_) {
      while (worker.pid > 0 && waitpid(worker.pid, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
    workers_.clear();
  }

  void give_up() {
    Jobs lost;
    for (Worker& worker : workers_) lost.splice(lost.end(), worker.job);
    end_workers(false);
    {
      const std::lock_guard lock(mutex_);
      broken_ = shutdown_ = true;
      lost.splice(lost.end(), ready_);
      lost.splice(lost.end(), pending_);
    }
    for (const Job& job : lost) detail::fail(job.work->future(), broken_error_);
  }

  static thread_local const Processes* current_;

  const int max_workers_;
  const std::function<void()> initializer_;
  std::atomic<pid_t> starter_{0};  // the process that has the manager
  Descriptor wake_;                // an eventfd: something changed for the manager
  std::vector<Worker> workers_;    // used by the manager alone
  std::vector<pollfd> polled_;     // likewise
  std::exception_ptr broken_error_;
  std::thread manager_;

  // Guarded by mutex_:
  Jobs pending_;
  Jobs ready_;       // their futures are running, but no worker has them yet
  int running_ = 0;  // futures that are running, at most max_workers_ + 1
  bool started_ = false;
  bool broken_ = false;
};

thread_local const ProcessPoolExecutor::Processes* ProcessPoolExecutor::Processes::current_ =
    nullptr;

ProcessPoolExecutor::ProcessPoolExecutor(ProcessPoolOptions options)
    : processes_(std::make_shared<Processes>(std::move(options))) {
  detail::finish_at_exit(processes_);
}

ProcessPoolExecutor::~ProcessPoolExecutor() {
  processes_->finish(processes_->wait_in_destructor());
}

void ProcessPoolExecutor::shutdown(ShutdownOptions options) { processes_->shutdown(options); }

void ProcessPoolExecutor::submit_work(std::unique_ptr<Work>) {
  throw TypeError(
      "a process pool cannot run a call submitted through Executor&: use the "
      "ProcessPoolExecutor itself, so that the call can be serialised");
}

void ProcessPoolExecutor::submit_remote(std::unique_ptr<detail::RemoteWork> work) {
  processes_->submit(std::move(work));
}

}  // namespace fiber::concurrent::futures
