#include <fiber/asyncio/staggered.hpp>

#include <fiber/asyncio/caught.hpp>
#include <fiber/asyncio/locks.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/asyncio/timeouts.hpp>
#include <fiber/exceptions/is_exception.hpp>
#include <fiber/greenlet.hpp>

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

namespace fiber::asyncio::detail {
namespace {

struct Race {
  EventLoop loop;
  std::size_t count = 0;
  std::chrono::nanoseconds delay{0};
  std::function<void(std::size_t)> attempt;
  std::size_t next = 0;
  std::optional<std::size_t> winner = {};
  std::vector<Task<>> tasks = {};  ///< the task of attempt N at N, and one without an attempt
  std::exception_ptr error = {};   ///< the first one that is no OSError
};

// Makes an attempt. Returns false if it fails; the attempt keeps its OSError.
bool succeeds(Race& race, std::size_t index) {
  const std::exception_ptr error = caught([&] { race.attempt(index); });
  if (race.error == nullptr && error != nullptr && !is_exception<OSError>(error))
    race.error = error;
  return error == nullptr;
}

void run_one(const std::shared_ptr<Race>& race, const std::optional<Event>& previous_failed) {
  if (previous_failed) {
    try {
      await(asyncio::wait_for(previous_failed->wait(), race->delay));
    } catch (const TimeoutError&) {
      // The head start of the attempt before is over.
    }
  }
  if (race->next == race->count) return;
  const std::size_t index = race->next++;
  const Event failed;
  race->tasks.push_back(race->loop.create_task([race, failed] { run_one(race, failed); }));
  if (!succeeds(*race, index)) {
    failed.set();
    return;
  }
  if (race->winner) return;
  race->winner = index;
  for (std::size_t i = 0; i < race->tasks.size(); ++i)
    if (i != index) race->tasks[i].cancel();
}

}  // namespace

std::optional<std::size_t> staggered_race(LoopObject& loop, std::size_t count, std::int64_t delay,
                                          std::function<void(std::size_t)> attempt) {
  const auto race = std::make_shared<Race>(Race{.loop = EventLoop(&loop),
                                                .count = count,
                                                .delay = std::chrono::nanoseconds(delay),
                                                .attempt = std::move(attempt)});
  race->tasks.reserve(count + 1);  // so that no task is lost for want of memory
  struct Leave {
    Race& race;
    ~Leave() {
      for (const Task<>& task : std::exchange(race.tasks, {})) task.cancel();
    }
  } leave{*race};
  race->tasks.push_back(race->loop.create_task([race] { run_one(race, std::nullopt); }));
  std::size_t ended = 0;
  while (ended != race->tasks.size()) {
    const auto result = await(asyncio::wait(race->tasks));
    ended = result.done.size();
    for (const Task<>& task : result.done)
      if (!task.cancelled()) task.result();
  }
  if (race->winner) return race->winner;
  if (race->error != nullptr) std::rethrow_exception(race->error);
  // A task that is cancelled before its turn makes no attempt, and so nobody makes the next ones.
  if (race->next != count) race->tasks.back().result();
  return std::nullopt;
}

}  // namespace fiber::asyncio::detail
