// poll_host: a program with a poll() loop of its own gets tasks, by one more descriptor.
//
// The legacy loop watches its descriptors as before. Our loop's descriptor is one of them: readable
// when a task has something to do, because of a timer, a descriptor, or another thread.
#include <fiber/asyncio.hpp>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "../tutorial/support/print.hpp"

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;

int main() {
  int ends[2];
  if (::pipe(ends) != 0) return 1;
  asyncio::Queue<std::string> lines;
  const asyncio::EventLoop loop = asyncio::new_event_loop();

  // New code: a task.
  const auto task = loop.create_task([&] {
    for (std::string line = await(lines.get()); line != "quit"; line = await(lines.get())) {
      print("task: working on", line);
      await(asyncio::sleep(20ms));
      const auto size = await(asyncio::to_thread([line] { return line.size(); }));
      print("task: done with", line, "which has", size, "letters");
    }
  });

  std::jthread user([out = ends[1]] {
    for (const std::string text : {"alpha", "beta", "quit"}) {
      std::this_thread::sleep_for(10ms);
      (void)!::write(out, (text + "\n").data(), text.size() + 1);
    }
    ::close(out);
  });

  // Old code: the program's loop, with one entry more.
  int turns = 0, read = 0;
  pollfd descriptors[] = {{ends[0], POLLIN, 0}, {loop.fileno(), POLLIN, 0}};
  std::string unread;
  while (!task.done()) {
    ::poll(descriptors, 2, -1);
    ++turns;
    if (descriptors[0].revents != 0) {
      char bytes[100];
      const auto count = ::read(ends[0], bytes, sizeof bytes);
      if (count <= 0) descriptors[0].fd = -1;
      for (ssize_t i = 0; i < count; ++i) {
        if (bytes[i] != '\n') {
          unread += bytes[i];
          continue;
        }
        ++read;
        lines.put_nowait(std::exchange(unread, {}));  // wakes the task
      }
    }
    if (descriptors[1].revents != 0) loop.run_ready();
  }
  print("poll: read", read, "lines");
  print("the loop slept in between:", turns < 100 ? "yes" : "no");
  user.join();
  ::close(ends[0]);
  loop.close();
}
