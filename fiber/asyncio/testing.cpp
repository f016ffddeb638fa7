#include <fiber/asyncio/testing.hpp>

#include <fiber/asyncio/base_events.hpp>
#include <fiber/asyncio/threads.hpp>
#include <fiber/platform/file.hpp>

#include <algorithm>
#include <iterator>
#include <limits>
#include <set>
#include <utility>

namespace fiber::asyncio::testing {

namespace base = fiber::asyncio::detail;

class VirtualClock::State final : public base::Clock {
 public:
  explicit State(nanoseconds start) : time(base::bounded(start.count())) {}
  std::int64_t now() noexcept override { return time.count(); }
  bool jump(std::int64_t deadline) noexcept override {
    if (deadline == std::numeric_limits<std::int64_t>::max()) return false;
    time = std::max(time, nanoseconds(deadline));
    return true;
  }
  std::int64_t patience() noexcept override { return its_patience.count(); }

  nanoseconds time;
  nanoseconds its_patience = std::chrono::milliseconds(10);
};

VirtualClock::VirtualClock(nanoseconds start) : state_(std::make_shared<State>(start)) {}
const std::shared_ptr<VirtualClock::State>& VirtualClock::state() const {
  if (state_ == nullptr) throw ValueError("this VirtualClock was moved from");
  return state_;
}
void VirtualClock::attach(const EventLoop& loop) const {
  loop.object().timers().set_clock(state());
}
nanoseconds VirtualClock::time() const { return state()->time; }
void VirtualClock::advance(nanoseconds by) const {
  nanoseconds& time = state()->time;
  time = nanoseconds(base::deadline_after(time.count(), base::to_nanoseconds(by)));
}
void VirtualClock::set_patience(nanoseconds patience) const { state()->its_patience = patience; }

void set_shuffle(const EventLoop& loop, std::uint64_t seed) {
  loop.object().turns().set_shuffle(seed);
}

std::uint64_t iterations(const EventLoop& loop) { return loop.object().turns().iterations; }

LeftBehind::~LeftBehind() = default;

namespace detail {
namespace {

// Returns the open files; sorted.
std::vector<Descriptor> open_descriptors() {
  std::vector<Descriptor> open;
  for (platform::OpenFile& each : platform::open_files())
    open.push_back({std::move(each.target), std::to_string(each.number)});
  std::sort(open.begin(), open.end(),
            [](const Descriptor& a, const Descriptor& b) { return a.target < b.target; });
  return open;
}

// Returns the files opened since. Numbers do not count: the loop may have closed its own and opened
// others.
std::vector<std::string> opened_since(const std::vector<Descriptor>& before) {
  std::vector<Descriptor> more;
  const std::vector<Descriptor> now = open_descriptors();
  std::set_difference(now.begin(), now.end(), before.begin(), before.end(),
                      std::back_inserter(more),
                      [](const Descriptor& a, const Descriptor& b) { return a.target < b.target; });
  std::vector<std::string> texts;
  texts.reserve(more.size());
  for (const Descriptor& each : more) texts.push_back(each.number + " (" + each.target + ")");
  return texts;
}

std::string listed(const char* what, const std::vector<std::string>& items) {
  if (items.empty()) return "";
  std::string text = std::string("\n") + what + ":";
  for (const std::string& item : items) text += "\n  " + item;
  return text;
}

}  // namespace

TestLoop::TestLoop(RunTestOptions options) : options_(options) {
  if (base::asyncio_thread().running != nullptr)
    throw RuntimeError("run_test() cannot be called from a running event loop");
  loop_ = new_event_loop();
  descriptors_ = open_descriptors();
  base::LoopObject& object = loop_.object();
  if (options.virtual_clock) clock_.attach(loop_);
  object.turns().set_shuffle(options.shuffle);
  object.observation().set_debug(options.debug || object.debug());
  object.deadlock().raise = true;
  object.observation().register_futures();
  set_event_loop(loop_);
}

TestLoop::~TestLoop() {
  try {
    if (!loop_.is_closed()) finish();
  } catch (...) {
    // The test has already failed by another error.
  }
}

void TestLoop::finish() {
  std::string left;
  try {
    left = left_behind();
    asyncio::detail::cancel_all_tasks(loop_);
    loop_.run_until_complete(loop_.shutdown_asyncgens());
    loop_.run_until_complete(loop_.shutdown_default_executor());
  } catch (...) {
    set_event_loop(EventLoop());
    loop_.close();
    throw;
  }
  set_event_loop(EventLoop());
  loop_.close();
  if (!options_.allow_descriptors) left += listed("open descriptors", opened_since(descriptors_));
  if (!left.empty()) throw LeftBehind("the test left something behind" + left);
}

std::string TestLoop::left_behind() const {
  std::vector<std::string> tasks;
  std::vector<std::string> futures;
  std::set<const base::FutureBase*> waited_for;
  for (const TaskRef& task : all_tasks(loop_)) {
    tasks.push_back(task.repr());
    waited_for.insert(static_cast<base::TaskBase&>(task.base()).waiting_on());
  }
  for (const base::FutureBase* future : loop_.object().observation().registered_futures())
    if (!future->is_task() && !future->done() && !waited_for.contains(future))
      futures.push_back(future->repr());
  std::string text;
  if (!options_.allow_tasks) text += listed("unfinished tasks", tasks);
  if (!options_.allow_futures) text += listed("pending futures", futures);
  return text;
}

}  // namespace detail
}  // namespace fiber::asyncio::testing
