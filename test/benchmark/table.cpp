#include "table.hpp"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>

namespace works {
namespace {

Figure figure_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  return "unknown";
}

std::string kernel() {
  utsname names{};
  return ::uname(&names) == 0 ? std::string(names.sysname) + " " + names.release : "unknown";
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + "\"";
}

}  // namespace

Table::Row& Table::row(const std::string& work) {
  const auto found =
      std::find_if(rows_.begin(), rows_.end(), [&](const Row& each) { return each.work == work; });
  if (found != rows_.end()) return *found;
  return rows_.emplace_back(Row{work, group_, {}});
}

void Table::ReportRuns(const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    const auto items = run.counters.find("items_per_second");
    if (run.run_type != Run::RT_Iteration || items == run.counters.end()) continue;
    const std::string& name = run.run_name.function_name;
    if (measured_.find(name) == measured_.end()) order_.push_back(name);
    measured_[name].push_back(1e9 / items->second.value);
  }
}

void Table::Finalize() {
  for (const std::string& name : order_) {
    const auto slash = name.rfind('/');
    row(name.substr(0, slash)).figures[name.substr(slash + 1)] = figure_of(measured_[name]);
  }
  order_.clear();
  measured_.clear();
}

void Table::read(const std::string& command) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(command.c_str(), "r"),
                                                             ::pclose);
  if (!pipe) return;
  char line[512];
  while (std::fgets(line, sizeof line, pipe.get()) != nullptr) {
    std::istringstream fields(line);
    std::string work;
    std::string who;
    Figure figure;
    if (!std::getline(fields, work, '\t') || !std::getline(fields, who, '\t') ||
        !(fields >> figure.median))
      continue;
    if (!(fields >> figure.low >> figure.high)) figure.low = figure.high = figure.median;
    row(work).figures[who] = figure;
  }
}

void Table::missing(const std::string& who, const std::string& package) {
  missing_.push_back(who + " (Debian: " + package + ")");
}

void Table::version_by(const std::string& who, const std::string& command) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(
      ::popen((command + " 2>/dev/null").c_str(), "r"), ::pclose);
  char line[256] = "";
  if (!pipe || std::fgets(line, sizeof line, pipe.get()) == nullptr) return;
  std::string text = line;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (!text.empty()) version(who, text);
}

void Table::print() const {
  std::printf("\n%-48s %18s   %s\n", "work: ns per item, or bytes", "fiber (spread)",
              "others, and how often our figure they take");
  for (const Row& each : rows_) {
    const auto ours = each.figures.find("fiber");
    std::printf("%-48s", each.work.c_str());
    if (ours != each.figures.end()) {
      const Figure& figure = ours->second;
      std::printf(" %9.1f (%3.0f %%)  ", figure.median,
                  (figure.high - figure.low) / figure.median * 100);
    } else {
      std::printf(" %18s  ", "");
    }
    for (const auto& [who, figure] : each.figures) {
      if (who == "fiber") continue;
      std::printf(" %s %.1f", who.c_str(), figure.median);
      if (ours != each.figures.end()) std::printf(" (x%.2f)", figure.median / ours->second.median);
      std::printf(";");
    }
    std::printf("\n");
  }
  for (const std::string& text : missing_) std::printf("not measured: %s\n", text.c_str());
}

bool Table::write_json(const std::string& path) const {
  std::ofstream out(path);
  const std::time_t now = std::time(nullptr);
  char date[32] = "";
  std::strftime(date, sizeof date, "%Y-%m-%d", std::localtime(&now));
  out << "{\n  \"context\": {\"processor\": " << quoted(processor())
      << ", \"cores\": " << std::thread::hardware_concurrency()
      << ", \"kernel\": " << quoted(kernel()) << ", \"compiler\": " << quoted(__VERSION__)
      << ", \"date\": \"" << date << "\"},\n  \"versions\": {";
  const char* separator = "";
  for (const auto& [who, text] : versions_) {
    out << separator << quoted(who) << ": " << quoted(text);
    separator = ", ";
  }
  out << "},\n  \"works\": [";
  separator = "\n";
  for (const Row& each : rows_) {
    out << separator << "    {\"work\": " << quoted(each.work)
        << ", \"group\": " << quoted(each.group) << ", \"figures\": {";
    separator = ",\n";
    const char* comma = "";
    for (const auto& [who, figure] : each.figures) {
      out << comma << "\n      " << quoted(who) << ": {\"median\": " << figure.median
          << ", \"low\": " << figure.low << ", \"high\": " << figure.high << "}";
      comma = ",";
    }
    out << "\n    }}";
  }
  out << "\n  ]\n}\n";
  return static_cast<bool>(out.flush());
}

}  // namespace works
