#include <fiber/asyncio/call_graph.hpp>

#include <fiber/asyncio/combinators.hpp>
#include <fiber/asyncio/frames.hpp>
#include <fiber/asyncio/taskgroups.hpp>
#include <fiber/asyncio/thread_question.hpp>
#include <fiber/asyncio/unix_events.hpp>
#include <fiber/exceptions/repr.hpp>
#include <fiber/core/backtrace.hpp>
#include <fiber/core/context.hpp>

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include <semaphore.h>

namespace fiber::asyncio {
namespace {

using detail::FutureBase;
using detail::TaskBase;

using Futures = std::set<const FutureBase*>;

// Adds the tasks that wait for the future, directly or through combined futures, each once. `seen`
// ends circles.
void add_awaiters(const FutureBase& future, std::vector<TaskBase*>& tasks, Futures& seen) {
  if (!seen.insert(&future).second) return;
  const auto add = [&](TaskBase* task) {
    if (seen.insert(task).second) tasks.push_back(task);
  };
  for (const detail::Callback& each : future.callbacks()) {
    if (each.kind == detail::Callback::Kind::task) {
      add(static_cast<const detail::TaskWakeup&>(each).task);
    } else if (each.kind == detail::Callback::Kind::leaf) {
      const auto& leaf = static_cast<const detail::LeafCallback&>(each);
      FutureBase* dependent = leaf.dependent != nullptr ? leaf.dependent(leaf) : nullptr;
      if (dependent == nullptr) continue;
      if (dependent->is_task())
        add(static_cast<TaskBase*>(dependent));
      else
        add_awaiters(*dependent, tasks, seen);
    }
  }
}

std::vector<TaskBase*> awaiters_of(const FutureBase& future) {
  std::vector<TaskBase*> tasks;
  Futures seen;
  add_awaiters(future, tasks, seen);
  return tasks;
}

std::vector<FrameCallGraphEntry> call_stack(TaskBase& task, std::size_t skip,
                                            const std::optional<int>& limit) {
  std::vector<traceback::FrameSummary> frames = traceback::extract(detail::frames_of(task));
  std::reverse(frames.begin(), frames.end());
  std::vector<FrameCallGraphEntry> entries;
  for (traceback::FrameSummary& frame : detail::user_frames(std::move(frames))) {
    if (skip != 0)
      --skip;
    else
      entries.push_back({std::move(frame)});
  }
  if (limit) {
    const auto most = static_cast<std::size_t>(std::abs(std::int64_t{*limit}));
    if (entries.size() > most) {
      const auto surplus = static_cast<std::ptrdiff_t>(entries.size() - most);
      if (*limit >= 0)
        entries.resize(most);
      else
        entries.erase(entries.begin(), entries.begin() + surplus);
    }
  }
  return entries;
}

// Functions over a graph are recursive: levels are limited.
constexpr std::size_t kMostLevels = 100;

// Tasks that wait for several others have many ways through the graph, whose number may double
// with each level: what is in `shown` is only named. Tasks whose awaiters
// were left out are not in it.
FutureCallGraph capture(FutureBase& future, std::size_t depth, const std::optional<int>& limit,
                        Futures& shown, std::size_t level = 1) {
  FutureCallGraph graph{.future = FutureRef(&future), .call_stack = {}, .awaited_by = {}};
  graph.repeated = shown.contains(&future);
  if (graph.repeated) return graph;
  const std::vector<TaskBase*> awaiters = awaiters_of(future);
  if (future.is_task()) graph.call_stack = call_stack(static_cast<TaskBase&>(future), depth, limit);
  graph.more = level == kMostLevels && !awaiters.empty();
  if (graph.more) return graph;
  shown.insert(&future);
  for (TaskBase* awaiter : awaiters)
    graph.awaited_by.push_back(capture(*awaiter, 0, limit, shown, level + 1));
  return graph;
}

void render(const FutureCallGraph& graph, std::size_t level, std::string& out) {
  const std::string indent(level * 4, ' ');
  const auto line = [&](const std::string& text) { out += indent + text + "\n"; };
  const std::string id = "id=" + fiber::detail::address_repr(graph.future.get()) +
                         (graph.repeated ? ") (shown above)" : ")");
  if (graph.future.base().is_task())
    line("* Task(name=" +
         fiber::detail::quoted(static_cast<TaskBase&>(graph.future.base()).get_name()) + ", " + id);
  else
    line("* Future(" + id);
  if (!graph.call_stack.empty()) {
    line("  + Call stack:");
    for (const FrameCallGraphEntry& entry : graph.call_stack)
      line("  |   File " +
           fiber::detail::quoted(entry.frame.filename.empty() ? "?" : entry.frame.filename) +
           ", in " + (entry.frame.name.empty() ? "?" : entry.frame.name) + "+" +
           fiber::detail::hex_repr(entry.frame.offset));
  }
  if (graph.more) line("  + Awaited by others, which are left out");
  if (graph.awaited_by.empty()) return;
  line("  + Awaited by:");
  for (const FutureCallGraph& awaiter : graph.awaited_by) render(awaiter, level + 1, out);
}

std::string format(const FutureCallGraph& graph) {
  std::string text;
  core::with_room([&] { render(graph, 0, text); });
  text.pop_back();
  return text;
}

}  // namespace

std::optional<FutureCallGraph> capture_call_graph(CallGraphOptions options) {
  if (detail::asyncio_thread().running == nullptr)
    throw RuntimeError(
        "capture_call_graph() is called outside of a running event loop and no future to "
        "introspect was provided");
  TaskBase* task = detail::current_task_or_null();
  if (task == nullptr) return std::nullopt;
  return capture_call_graph(TaskRef(task), options);
}

FutureCallGraph capture_call_graph(const FutureRef& future, CallGraphOptions options) {
  Futures shown;
  FutureBase& base = future.base();
  const bool is_current = &base == detail::current_task_or_null();
  std::optional<FutureCallGraph> graph;
  core::with_room(
      [&] { graph = capture(base, is_current ? options.depth : 0, options.limit, shown); });
  return *std::move(graph);
}

std::string format_call_graph(CallGraphOptions options) {
  std::string text;
  core::with_room([&] {  // a deep graph is destroyed level by level, too
    const std::optional<FutureCallGraph> graph = capture_call_graph(options);
    if (graph) text = format(*graph);
  });
  return text;
}

std::string format_call_graph(const FutureRef& future, CallGraphOptions options) {
  std::string text;
  core::with_room([&] { text = format(capture_call_graph(future, options)); });
  return text;
}

void print_call_graph(CallGraphOptions options) {
  const std::string text = format_call_graph(options);
  if (!text.empty()) std::cerr << text << std::endl;
}
void print_call_graph(const FutureRef& future, CallGraphOptions options) {
  print_call_graph(future, std::cerr, options);
}
void print_call_graph(const FutureRef& future, std::ostream& out, CallGraphOptions options) {
  out << format_call_graph(future, options) << std::endl;
}

std::string format_all_call_graphs(const EventLoop& loop) {
  const std::vector<TaskRef> tasks = all_tasks(loop);
  Futures waiting;  // tasks that wait for another task
  for (const TaskRef& task : tasks)
    for (const TaskBase* awaiter : awaiters_of(task.base())) waiting.insert(awaiter);
  Futures shown;
  std::string text;
  const auto show = [&](const TaskRef& task) {
    if (!text.empty()) text += "\n";
    core::with_room([&] { text += format(capture(task.base(), 0, std::nullopt, shown)); });
  };
  for (const TaskRef& task : tasks)
    if (!waiting.contains(task.get())) show(task);
  for (const TaskRef& task : tasks)
    if (!shown.contains(task.get())) show(task);
  return text;
}

namespace {

// Reports for a loop whose thread is blocked and cannot answer the signal: another thread says
// where it is.
class BlockedReport {
 public:
  BlockedReport(const detail::LoopObject& loop, int signal)
      : signal_(signal), question_(loop, signal != SIGURG ? SIGURG : SIGIO) {
    ::sem_init(&arrived_, 0, 0);
    try {
      watcher_.emplace([this] { watch(); });
    } catch (...) {
      ::sem_destroy(&arrived_);
      throw;
    }
    detail::set_alarm(signal_, &arrived_);
  }
  BlockedReport(const BlockedReport&) = delete;
  BlockedReport& operator=(const BlockedReport&) = delete;
  ~BlockedReport() {
    detail::clear_alarm(signal_, &arrived_);
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    answer_.notify_one();
    ::sem_post(&arrived_);
    watcher_->join();
    ::sem_destroy(&arrived_);
  }

  bool exists() const noexcept { return watcher_->exists(); }

  // Called when the loop has reached the signal.
  void answered() {
    if (!exists()) return;
    {
      const std::lock_guard lock(mutex_);
      answered_ = true;
    }
    answer_.notify_one();
  }

 private:
  static constexpr auto kPatience = std::chrono::milliseconds(500);

  void watch() {
    for (;;) {
      while (::sem_wait(&arrived_) != 0) continue;  // interrupted
      std::unique_lock lock(mutex_);
      answer_.wait_for(lock, kPatience, [this] { return answered_ || stopping_; });
      if (stopping_) return;
      if (std::exchange(answered_, false)) continue;
      lock.unlock();
      report();
    }
  }

  void report() const noexcept {
    try {
      Stall stall{.duration = kPatience};
      if (std::optional<Stall> answer = question_.ask(kPatience)) stall = std::move(*answer);
      std::fputs(str(stall).c_str(), stderr);
    } catch (...) {
      std::fputs("asyncio: no memory for a report\n", stderr);
    }
  }

  int signal_;
  detail::ThreadQuestion question_;
  sem_t arrived_;
  std::mutex mutex_;
  std::condition_variable answer_;
  bool answered_ = false;
  bool stopping_ = false;
  std::optional<detail::WatcherThread> watcher_;
};

}  // namespace

void print_call_graphs_on_signal(const EventLoop& loop, int signal) {
  // In place before the signal is caught, and without effect until then.
  struct Blocked {
    std::unique_ptr<BlockedReport> report;
    Blocked() = default;
    Blocked(const Blocked&) = delete;
    Blocked& operator=(const Blocked&) = delete;
    ~Blocked() { detail::end_watcher(std::move(report)); }
  };
  auto blocked = std::make_shared<Blocked>();
  loop.add_signal_handler(signal, [object = &loop.object(), blocked] {
    blocked->report->answered();
    std::cerr << format_all_call_graphs(EventLoop(object)) << std::endl;
  });
  try {
    blocked->report = std::make_unique<BlockedReport>(loop.object(), signal);
  } catch (...) {
    loop.remove_signal_handler(signal);
    throw;
  }
}

namespace detail {

namespace {

void append(std::vector<const void*>& frames, const core::Context& context) {
  const std::vector<void*> more = core::backtrace_of(context);
  frames.insert(frames.end(), more.begin(), more.end());
}

// Appends the frames of a waiting greenlet, and if a generator is waiting, those of its consumers.
void append_frames(std::vector<const void*>& frames,
                   const fiber::detail::GreenletObject& greenlet) {
  const core::Context* context = &greenlet.context;
  const std::vector<GeneratorBase> generators = all_generators();
  for (;;) {
    append(frames, *context);
    const auto found =
        std::find_if(generators.begin(), generators.end(), [&](const GeneratorBase& generator) {
          return generator.object()->stack == context->stack;
        });
    if (context->stack == nullptr || found == generators.end()) return;
    const fiber::detail::GeneratorObject* generator = found->object();
    // The delegators wait in their own frames, one stack each.
    for (; generator->delegator != nullptr; generator = generator->delegator)
      append(frames, generator->delegator->context);
    context = &generator->caller;
  }
}

}  // namespace

std::vector<const void*> frames_of(TaskBase& task) {
  using fiber::detail::GreenletObject;
  std::vector<const void*> frames;
  const TaskBase* current = current_task_or_null();
  const auto add = [&frames, address = __builtin_frame_address(0)](const GreenletObject* greenlet) {
    if (greenlet != nullptr && greenlet->state != fiber::detail::GreenletState::current) {
      append_frames(frames, *greenlet);
      return;
    }
    const std::vector<void*> here = core::backtrace_from(address);
    frames.insert(frames.end(), here.begin(), here.end());
  };
  if (&task == current) {
    add(nullptr);
    return frames;
  }
  if (task.done() || !task.has_started()) return frames;
  // The frames change while another thread runs the loop.
  if (task.loop()->is_running() && !task.loop()->home().is_here()) return frames;
  const GreenletObject* waiting = task.suspended_greenlet();
  const GreenletObject* own = task.own_greenlet();
  if (waiting == nullptr) return frames;
  // A destructor at the end of another task may be running on the stack of this one, or one of its
  // own, while it is unwound with its loop.
  if (!task.abandoned()) add(waiting);
  if (waiting != own) add(own);
  return frames;
}

std::vector<traceback::FrameSummary> get_stack(TaskBase& task,
                                               const std::optional<std::size_t>& limit) {
  std::vector<const void*> frames = frames_of(task);
  if (limit && frames.size() > *limit) frames.resize(*limit);
  return traceback::extract(frames);
}

void print_stack(TaskBase& task, const std::optional<std::size_t>& limit, std::ostream* out) {
  const std::vector<traceback::FrameSummary> frames = get_stack(task, limit);
  std::string text = frames.empty() ? "No stack for " + task.repr() + "\n"
                                    : "Stack for " + task.repr() + " (most recent call last):\n";
  for (const std::string& line : traceback::format_list(frames)) text += line + "\n";
  (out != nullptr ? *out : std::cerr) << text << std::flush;
}

std::string place_of_wait(TaskBase& task) { return user_place(frames_of(task)); }

}  // namespace detail
}  // namespace fiber::asyncio
