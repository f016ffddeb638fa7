// event_loop_by_hand: what an event loop does, on greenlets alone.
//
//   tasks = [...]
//   while tasks:
//       ready, finished = check(tasks)
//       for task in ready:
//           run it until it pauses
//       for task in finished:
//           tasks.remove(task)
//       if there was neither:
//           sleep until the first task is ready again
#include <fiber/greenlet.hpp>

#include <algorithm>
#include <chrono>
#include <ranges>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/print.hpp"

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

Clock::time_point now;  // the same for a whole round

struct Task {
  std::string name;
  fiber::greenlet fiber;
  Clock::time_point wake_at;
};

// Gives control back to the loop, which is the parent of every task.
void pause(Task& task, Clock::duration time) {
  task.wake_at = now + time;
  fiber::getcurrent().parent().switch_();
}

void job(Task& task, Clock::duration time) {
  print(task.name, "starts");
  pause(task, time);
  print(task.name, "ends");
}

using List = std::vector<Task*>;

std::pair<List, List> check(const List& tasks) {
  List ready, finished;
  for (Task* task : tasks) {
    if (task->fiber.dead())
      finished.push_back(task);
    else if (task->wake_at <= now)
      ready.push_back(task);
  }
  return {ready, finished};
}

void show(std::string line, const List& tasks) {
  for (const Task* task : tasks) line += " " + task->name;
  print(tasks.empty() ? line + " none" : line);
}

int main() {
  now = Clock::now();
  Task a{"a", fiber::greenlet([&] { job(a, 1s); }), now};
  Task b{"b", fiber::greenlet([&] { job(b, 2s); }), now};
  Task c{"c", fiber::greenlet([&] { job(c, 1s); }), now};

  List tasks{&a, &b, &c};
  for (int round = 1; !tasks.empty(); ++round) {
    print("round", round);
    auto [ready, finished] = check(tasks);
    show("ready", ready);
    show("finished", finished);
    for (Task* task : ready) task->fiber.switch_();
    for (Task* task : finished) std::erase(tasks, task);
    if (ready.empty() && finished.empty()) {
      print("nothing to do, sleep");
      std::this_thread::sleep_until(std::ranges::min(tasks, {}, &Task::wake_at)->wake_at);
    }
    now = Clock::now();
  }
  print("no task left");
}
