// task_queue: jobs with priorities, retries and time limits, done by a few workers.
#include <fiber/asyncio.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../tutorial/support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

class JobQueue {
 public:
  struct Job {
    std::string name;
    std::function<void()> work;  // may wait; throws if it fails
    int priority = 0;            // lower comes first
    int retries = 2;
    std::chrono::milliseconds limit = 1s;
    std::chrono::milliseconds pause = 10ms;  // before the first retry; doubled for each one
  };

  void add(Job job) {
    const int priority = job.priority;
    jobs_.put_nowait({{priority, ++last_}, std::make_shared<Job>(std::move(job))});
  }
  // Does all jobs, retries included, with so many workers. The workers end with the group, before
  // this object does; the failure of one worker ends the others.
  void run(int workers) {
    asyncio::with(asyncio::TaskGroup(), [&](auto& group) {
      std::vector<asyncio::Task<void>> tasks;
      for (int i = 1; i <= workers; ++i)
        tasks.push_back(
            group.create_task([this] { work(); }, {.name = "worker " + std::to_string(i)}));
      await(jobs_.join());
      for (const auto& task : tasks) task.cancel();
    });
  }

 private:
  struct Entry {
    std::pair<int, int> order;
    std::shared_ptr<Job> job;
    bool operator<(const Entry& other) const { return order < other.order; }
  };

  void work() {
    for (;;) {
      const Entry entry = await(jobs_.get());
      do_job(*entry.job);
      jobs_.task_done();
    }
  }
  static void do_job(const Job& job) {
    auto pause = job.pause;
    for (int attempt = 1;; ++attempt) {
      try {
        asyncio::with(asyncio::timeout(job.limit), [&] { job.work(); });
        print(job.name, "is done");
        return;
      } catch (const std::exception& error) {
        const std::string reason = type_name(std::current_exception());
        if (attempt > job.retries) {
          print(job.name, "is given up:", reason);
          return;
        }
        print(job.name, "failed:", reason);
      }
      await(asyncio::sleep(pause));
      pause *= 2;
    }
  }

  asyncio::PriorityQueue<Entry> jobs_;
  int last_ = 0;
};

int main() {
  asyncio::run([] {
    JobQueue queue;
    queue.add({.name = "backup", .work = [] { await(asyncio::sleep(5ms)); }, .priority = 9});
    queue.add({.name = "mail", .work = [] { await(asyncio::sleep(5ms)); }});
    queue.add({.name = "flaky", .work = [tries = 0]() mutable {
                 if (++tries < 3) throw ConnectionError("no answer");
               }});
    queue.add(
        {.name = "stuck", .work = [] { await(asyncio::sleep(1h)); }, .retries = 0, .limit = 20ms});
    queue.add({.name = "urgent", .work = [] {}, .priority = -1});
    queue.run(1);  // one, so that the order can be seen
    print("all done");
  });
}
