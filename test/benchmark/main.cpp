// Measures our works and our peers' in one run and prints a table: medians of several rounds,
// interleaved at random so that the machine's drift hits all alike, and ratios to our figure.
//
//   bench [--peers=DIR] [--quick] [Google Benchmark's options, such as --benchmark_out=FILE]
//
// With --peers the programs of that directory (CPython, Go) are run too, when their tools are there.
#include "works.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace {

struct Row {
  std::string work;
  std::map<std::string, double> nanoseconds;
};

class Table final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }

  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Aggregate || run.aggregate_name != "median") continue;
      std::string name = run.run_name.function_name;
      const auto items = run.counters.find("items_per_second");
      if (items == run.counters.end()) continue;
      const auto slash = name.rfind('/');
      add(name.substr(0, slash), name.substr(slash + 1), 1e9 / items->second.value);
    }
  }

  void add(const std::string& work, const std::string& who, double nanoseconds) {
    auto row = std::find_if(rows_.begin(), rows_.end(),
                            [&](const Row& each) { return each.work == work; });
    if (row == rows_.end()) row = rows_.insert(rows_.end(), Row{work, {}});
    row->nanoseconds[who] = nanoseconds;
  }

  // Lines "work<TAB>who<TAB>nanoseconds" from a peer's program.
  void read(const std::string& command) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(command.c_str(), "r"),
                                                               ::pclose);
    if (!pipe) return;
    char line[512];
    while (std::fgets(line, sizeof line, pipe.get()) != nullptr) {
      const std::string text = line;
      const auto first = text.find('\t');
      const auto second = text.find('\t', first + 1);
      if (second == std::string::npos) continue;
      add(text.substr(0, first), text.substr(first + 1, second - first - 1),
          std::stod(text.substr(second + 1)));
    }
  }

  void print() const {
    std::printf("\n%-42s %10s   %s\n", "work (nanoseconds per item)", "fiber",
                "others, and how often our time they take");
    for (const Row& row : rows_) {
      const auto ours = row.nanoseconds.find("fiber");
      std::printf("%-42s", row.work.c_str());
      if (ours != row.nanoseconds.end())
        std::printf(" %10.1f  ", ours->second);
      else
        std::printf(" %10s  ", "");
      for (const auto& [who, nanoseconds] : row.nanoseconds) {
        if (who == "fiber") continue;
        std::printf(" %s %.1f", who.c_str(), nanoseconds);
        if (ours != row.nanoseconds.end()) std::printf(" (x%.2f)", nanoseconds / ours->second);
        std::printf(";");
      }
      std::printf("\n");
    }
  }

 private:
  std::vector<Row> rows_;
};

}  // namespace

namespace works {

void settle_floating_point() {
  volatile double one = 1.0;
  one = one / 3.0;
}

}  // namespace works

int main(int argc, char** argv) {
  works::settle_floating_point();
  std::string peers;
  std::vector<char*> arguments{argv[0]};
  static char interleave[] = "--benchmark_enable_random_interleaving=true";
  static char repetitions[] = "--benchmark_repetitions=7";
  static char quick[] = "--benchmark_repetitions=3";
  static char short_time[] = "--benchmark_min_time=0.05";
  arguments.push_back(interleave);
  arguments.push_back(repetitions);
  arguments.push_back(short_time);
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--peers=", 8) == 0)
      peers = argv[i] + 8;
    else if (std::strcmp(argv[i], "--quick") == 0)
      arguments.push_back(quick);
    else
      arguments.push_back(argv[i]);
  }
  works::add_switches();
  works::add_generators();
  works::add_tasks();
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  Table table;
  benchmark::RunSpecifiedBenchmarks(&table);
  if (!peers.empty()) {
    table.read("command -v python3 >/dev/null && python3 '" + peers + "/cpython.py'");
    table.read("command -v go >/dev/null && GOMAXPROCS=1 go run '" + peers + "/golang.go'");
  }
  table.print();
  return 0;
}
