// Reads at random offsets by hand: pread in a pool of threads that gets each read from one thread,
// which keeps a number of them under way. Prints nanoseconds per read.
//
//   files_threads FILE BYTES READS AT_A_TIME
#include "random.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

// A queue between threads; -1 is the end.
class Queue {
 public:
  void put(std::int64_t item) {
    {
      const std::lock_guard lock(mutex_);
      items_.push_back(item);
    }
    any_.notify_one();
  }
  std::int64_t get() {
    std::unique_lock lock(mutex_);
    any_.wait(lock, [this] { return !items_.empty(); });
    const std::int64_t item = items_.front();
    items_.pop_front();
    return item;
  }

 private:
  std::mutex mutex_;
  std::condition_variable any_;
  std::deque<std::int64_t> items_;
};

}  // namespace

int main(int argc, char** argv) {
  const files::Arguments its = files::arguments(argc, argv);
  const int fd = ::open(its.path, O_RDONLY | O_CLOEXEC);
  Queue asked;
  Queue done;
  std::vector<std::thread> pool;
  const unsigned threads = std::thread::hardware_concurrency() + 4;  // as Python's executor
  for (unsigned i = 0; i < threads; ++i)
    pool.emplace_back([&] {
      std::string buffer(its.bytes, '\0');
      for (std::int64_t at = 0; (at = asked.get()) >= 0;)
        done.put(::pread(fd, buffer.data(), its.bytes, at));
    });
  files::measure(its, [&] {
    files::Offsets offsets(its, 0);
    for (int i = 0; i < its.at_a_time; ++i) asked.put(offsets.next());
    for (long left = its.reads; left > 0; --left) {
      done.get();
      if (left > its.at_a_time) asked.put(offsets.next());
    }
  });
  for (unsigned i = 0; i < threads; ++i) asked.put(-1);
  for (std::thread& thread : pool) thread.join();
}
