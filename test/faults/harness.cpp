// Runs the scenarios: each fault in a child process of its own, and prints a table of the outcomes.
//
//   faults [--all] [--list] [SCENARIO...]     the sample, or all points
//   faults SCENARIO --point=KIND:NUMBER[:VARIANT][:warm]
//
// FIBER_FAULTS=all is another way to say --all.
#include "harness.hpp"

#include "injection.hpp"

#include <fiber/asyncio.hpp>
#include <fiber/core/symbols.hpp>
#include <fiber/exceptiongroup.hpp>

#include <algorithm>
#include <array>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/threads.hpp"

namespace faults {

std::vector<Scenario>& scenarios() {
  static std::vector<Scenario> all;
  return all;
}

namespace {

enum Outcome : int { not_needed, exception, wrong, leak, abort_, crash, hang, kOutcomes };
constexpr const char* kNames[] = {"not needed", "exception", "wrong", "leak",
                                  "abort",      "crash",     "hang"};
constexpr unsigned kSeconds = 40;  // until a child counts as hanging

struct Point {
  Fault fault;
  bool warm = false;  // the feature was used before

  std::string text() const {
    constexpr const char* kinds[] = {"none", "allocation", "burst", "call"};
    std::string text = kinds[static_cast<int>(fault.kind)];
    text += ":" + std::to_string(fault.number);
    if (fault.kind == Kind::call) text += ":" + std::to_string(fault.variant);
    return warm ? text + ":warm" : text;
  }
};

// The parent's own: it has more from child to child, and now and then a server's connections.
long inherited_blocks = 0;
long inherited_descriptors = 0;

long open_descriptors() {
  long count = 0;
  for (int fd = 0; fd < 256; ++fd)
    if (::fcntl(fd, F_GETFD) >= 0) ++count;
  return count;
}

// The resources of a process, none of which may be lost.
struct Holdings {
  long blocks = 0;
  long descriptors = 0;
  long greenlets = 0;
  long stacks = 0;
  long children = 0;

  static Holdings now() {
    Holdings held;
    const fiber::greenlet current = fiber::getcurrent();  // takes back what other threads gave up
    held.greenlets = fiber::detail::greenlet_thread().object_count();
    held.stacks = static_cast<long>(fiber::core::thread_state().pool.census().in_use);
    held.descriptors = open_descriptors() - inherited_descriptors;
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0) ++held.children;
    fiber::core::forget_symbol_names();  // names that reports have read
    // OpenSSL keeps the texts of a thread's last errors, and has places for sixteen of them.
    static const auto stop_thread =
        reinterpret_cast<void (*)()>(::dlsym(RTLD_DEFAULT, "OPENSSL_thread_stop"));
    if (stop_thread != nullptr) stop_thread();
    for (int i = 0; i < 2; ++i) static_cast<void>(::dlerror());  // glibc keeps a thread's last text
    held.blocks = live_blocks() - inherited_blocks;
    return held;
  }
  bool within(const Holdings& most) const {
    return blocks <= most.blocks && descriptors <= most.descriptors &&
           greenlets <= most.greenlets && stacks <= most.stacks && children <= most.children;
  }
  std::string text() const {
    return std::to_string(blocks) + " blocks, " + std::to_string(descriptors) + " descriptors, " +
           std::to_string(greenlets) + " greenlets, " + std::to_string(stacks) + " stacks, " +
           std::to_string(children) + " children";
  }
};

struct Shared {
  Record record;
  Holdings clean;  // after runs without a fault
};

// Runs a scenario. Expected exceptions are the documented ones; the library's own are
// fiber::Exception.
Outcome run_once(const Scenario& scenario, std::string* text = nullptr) {
  try {
    scenario.run();
    return not_needed;
  } catch (const std::logic_error& error) {
    std::fprintf(stderr, "wrong: %s\n", error.what());
    return wrong;
  } catch (const fiber::Exception&) {
    if (text != nullptr) *text = fiber::str(std::current_exception());
    return exception;
  } catch (const fiber::AnyExceptionGroup&) {
    if (text != nullptr) *text = fiber::str(std::current_exception());
    return exception;
  } catch (const std::bad_alloc&) {
    return exception;
  } catch (const fiber::BaseException& error) {
    std::fprintf(stderr, "undocumented: %s\n", error.what());
    return wrong;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "undocumented: %s\n", error.what());
    return wrong;
  }
}

// Waits for the resources to go back: threads may take a while to end.
bool settles(const Holdings& most) {
  for (int i = 0; i < 100; ++i) {
    if (Holdings::now().within(most)) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

// Waits until there are no more threads than that. A loop that could not join its threads leaves
// them to end by themselves, with the files and locks that their last jobs use.
void wait_for_threads(int most) {
  for (int i = 0; i < 100 && support::threads() > most; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

// Prints the addresses where an exception had no handler, for addr2line, and aborts.
[[noreturn]] void tell_and_abort() {
  end();
  std::fprintf(stderr, "terminate called\n");
  void* frames[40];
  ::backtrace_symbols_fd(frames, ::backtrace(frames, 40), STDERR_FILENO);
  std::abort();
}

// Runs a scenario with a fault, in the child.
Outcome play(const Scenario& scenario, const Point& point, Shared& shared) {
  if (point.warm && run_once(scenario) != not_needed) return wrong;
  const Holdings before = point.warm ? Holdings::now() : Holdings();
  const int threads = support::threads();
  begin(point.fault, shared.record);
  const Outcome outcome = run_once(scenario);
  end();
  if (outcome == wrong) return wrong;
  if (point.warm) wait_for_threads(threads);
  for (int i = 0; i < 2; ++i) {
    std::string text;
    if (run_once(scenario, &text) == not_needed) continue;
    std::fprintf(stderr, "the scenario fails afterwards: %s\n", text.c_str());
    return wrong;
  }
  if (point.fault.kind == Kind::none && !point.warm) shared.clean = Holdings::now();
  const Holdings most = point.warm ? before : shared.clean;
  if (settles(most)) return outcome;
  std::fprintf(stderr, "%s, where there were %s\n", Holdings::now().text().c_str(),
               most.text().c_str());
  return leak;
}

std::string read_all(int fd) {
  std::string text(4000, '\0');
  const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  return text;
}

struct Result {
  Outcome outcome;
  std::string output;
};

// Returns the place of the fault, without the frames inside of the standard library. The parent's
// addresses are equal to the child's.
std::string place_of(const Record& record) {
  std::string text;
  for (int i = 0; i < record.frame_count; ++i) {
    const auto symbol = fiber::core::find_symbol(static_cast<char*>(record.frames[i]) - 1);
    const bool is_inner = symbol.name.find(" std::") < symbol.name.find('(') ||
                          symbol.name.starts_with("std::") || symbol.name.starts_with("_ZSt");
    if (!symbol.name.empty() && !is_inner) text += "  at " + symbol.name.substr(0, 160) + "\n";
  }
  return text;
}

// glibc keeps the functions that it calls at exit, such as the ends of static variables, in blocks
// of 32. In a fresh block there is room for all that a scenario adds.
void make_room_at_exit() {
  const long before = live_blocks();
  for (int i = 0; i < 64 && live_blocks() == before; ++i) std::atexit([] {});
}

Result run_child(const Scenario& scenario, const Point& point, Shared& shared) {
  shared.record.allocations = shared.record.calls = 0;
  shared.record.failed[0] = '\0';
  shared.record.frame_count = 0;
  const int output = ::memfd_create("output", MFD_CLOEXEC);
  std::fflush(nullptr);
  fiber::core::forget_symbol_names();
  const pid_t child = ::fork();
  if (child == 0) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    ::alarm(kSeconds);
    std::set_terminate(tell_and_abort);
    make_room_at_exit();
    inherited_blocks = live_blocks();
    inherited_descriptors = open_descriptors();
    ::_exit(play(scenario, point, shared));
  }
  ::setpgid(child, child);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
  }
  ::kill(-child, SIGKILL);  // processes that the child has left
  Outcome outcome = crash;
  if (WIFEXITED(status) && WEXITSTATUS(status) < kOutcomes)
    outcome = static_cast<Outcome>(WEXITSTATUS(status));
  else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
    outcome = hang;
  else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT)
    outcome = abort_;
  Result result{outcome, read_all(output)};
  ::close(output);
  if (outcome != not_needed && outcome != exception) result.output += place_of(shared.record);
  return result;
}

void add_points(std::vector<Point>& points, const Record& record, bool warm) {
  const long allocations = record.allocations;
  for (long i = 0; i < allocations; ++i) points.push_back({{Kind::allocation, i}, warm});
  for (long i = 0; i < allocations; i += 3) points.push_back({{Kind::burst, i}, warm});
  for (long i = 0; i < std::min<long>(record.calls, kMostCalls); ++i)
    for (int variant = 0; variant < record.errors[i]; ++variant)
      points.push_back({{Kind::call, i, variant}, warm});
}

// Returns about `sample` of the points, as many of each kind, evenly spread within it; another
// `seed` begins at another point.
std::vector<Point> spread(const std::vector<Point>& points, std::size_t sample, std::size_t seed) {
  constexpr Kind kinds[] = {Kind::allocation, Kind::burst, Kind::call};
  std::vector<Point> chosen;
  for (const Kind kind : kinds) {
    std::vector<Point> those;
    std::copy_if(points.begin(), points.end(), std::back_inserter(those),
                 [kind](const Point& point) { return point.fault.kind == kind; });
    const std::size_t step = std::max<std::size_t>(1, those.size() * std::size(kinds) / sample);
    for (std::size_t i = seed % step; i < those.size(); i += step) chosen.push_back(those[i]);
  }
  return chosen;
}

struct Row {
  std::string name;
  std::size_t points = 0;
  std::array<int, kOutcomes> ends{};
};

Row run_scenario(const Scenario& scenario, Shared& shared, bool all, std::size_t sample) {
  Row row{scenario.name};
  std::vector<Point> points;
  for (const bool warm : {false, true}) {
    const Result clean = run_child(scenario, {{}, warm}, shared);
    if (clean.outcome != not_needed) {
      std::printf("%s without a fault: %s\n%s", scenario.name, kNames[clean.outcome],
                  clean.output.c_str());
      ++row.ends[static_cast<std::size_t>(clean.outcome)];
      return row;
    }
    add_points(points, shared.record, warm);
  }
  if (!all) points = spread(points, sample, std::hash<std::string_view>()(scenario.name));
  for (const Point& point : points) {
    const Result result = run_child(scenario, point, shared);
    ++row.points;
    ++row.ends[static_cast<std::size_t>(result.outcome)];
    if (result.outcome == not_needed || result.outcome == exception) continue;
    std::printf("%s --point=%s (%s): %s\n%s\n", scenario.name, point.text().c_str(),
                shared.record.failed, kNames[result.outcome], result.output.c_str());
    std::fflush(stdout);
  }
  return row;
}

void print(const std::vector<Row>& rows) {
  std::printf("\n%-22s %7s", "scenario", "points");
  for (const char* name : kNames) std::printf(" %10s", name);
  std::printf("\n");
  Row sum{"all"};
  for (const Row& row : rows) {
    sum.points += row.points;
    for (std::size_t i = 0; i < row.ends.size(); ++i) sum.ends[i] += row.ends[i];
  }
  const auto print_row = [](const Row& row) {
    std::printf("%-22s %7zu", row.name.c_str(), row.points);
    for (const int count : row.ends) std::printf(" %10d", count);
    std::printf("\n");
  };
  for (const Row& row : rows) print_row(row);
  print_row(sum);
}

// Makes glibc keep the stacks of ended threads, and their data: as many as existed at once.
void keep_stacks() {
  pthread_attr_t small;
  ::pthread_attr_init(&small);
  ::pthread_attr_setstacksize(&small, std::size_t{512} * 1024);  // more of them are kept
  ::pthread_setattr_default_np(&small);
  ::pthread_attr_destroy(&small);
  constexpr int kThreads = 12;
  std::barrier all(kThreads);
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&all] { all.arrive_and_wait(); });
}

// Makes reports read the symbol tables of the program and of its libraries, which they keep.
void index_symbols() {
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void*) {
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& header = info->dlpi_phdr[i];
          if (header.p_type == PT_LOAD && (header.p_flags & PF_X) != 0)
            static_cast<void>(fiber::core::find_symbol(
                reinterpret_cast<const void*>(info->dlpi_addr + header.p_vaddr)));
        }
        return 0;
      },
      nullptr);
  void* unused[1];
  ::backtrace(unused, 1);  // loads libraries
}

std::optional<Point> parse(std::string_view text) {
  Point point;
  if (text.ends_with(":warm")) {
    point.warm = true;
    text.remove_suffix(5);
  }
  char kind[16] = {};
  if (std::sscanf(std::string(text).c_str(), "%15[^:]:%ld:%d", kind, &point.fault.number,
                  &point.fault.variant) < 2)
    return std::nullopt;
  if (std::strcmp(kind, "allocation") == 0)
    point.fault.kind = Kind::allocation;
  else if (std::strcmp(kind, "burst") == 0)
    point.fault.kind = Kind::burst;
  else if (std::strcmp(kind, "call") == 0)
    point.fault.kind = Kind::call;
  else
    return std::nullopt;
  return point;
}

}  // namespace
}  // namespace faults

int main(int argc, char** argv) {
  using namespace faults;
  const char* setting = std::getenv("FIBER_FAULTS");
  bool all = setting != nullptr && std::strcmp(setting, "all") == 0;
  std::size_t sample = 24;
  std::vector<std::string_view> wanted;
  std::optional<Point> only;
  std::vector<Scenario> every = scenarios();
  std::sort(every.begin(), every.end(),
            [](const Scenario& a, const Scenario& b) { return std::strcmp(a.name, b.name) < 0; });
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--all") {
      all = true;
    } else if (argument == "--list") {
      for (const Scenario& scenario : every) std::printf("%s\n", scenario.name);
      return 0;
    } else if (argument.starts_with("--sample=")) {
      sample = static_cast<std::size_t>(std::atol(argv[i] + 9));
    } else if (argument.starts_with("--except=")) {
      std::erase_if(every, [&](const Scenario& its) { return its.name == argument.substr(9); });
    } else if (argument.starts_with("--point=")) {
      only = parse(argument.substr(8));
      if (!only) return 2;
    } else {
      wanted.push_back(argument);
    }
  }
  if (!in_use()) {
    std::printf("SKIP: another malloc is in the place of the suite's\n");
    return 77;
  }
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 2;
  Shared& shared = *new (memory) Shared;
  keep_stacks();
  std::vector<Row> rows;
  bool good = true;
  for (const Scenario& scenario : every) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), scenario.name) == wanted.end())
      continue;
    if (scenario.prepare != nullptr) scenario.prepare();
    index_symbols();
    if (only) {
      run_child(scenario, {}, shared);
      const Result result = run_child(scenario, *only, shared);
      std::printf("%s (%s)\n%s", kNames[result.outcome], shared.record.failed,
                  result.output.c_str());
      continue;
    }
    rows.push_back(run_scenario(scenario, shared, all, sample));
    for (std::size_t i = wrong; i < kOutcomes; ++i) good &= rows.back().ends[i] == 0;
  }
  if (!only) print(rows);
  return good ? 0 : 1;
}
