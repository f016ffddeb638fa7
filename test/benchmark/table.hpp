// The table of a run: medians with their spread, and their ratios to the library's own.
#pragma once

#include <benchmark/benchmark.h>

#include <map>
#include <string>
#include <vector>

namespace works {

// Nanoseconds per item, or bytes in the rows "memory: ...".
struct Figure {
  double median = 0;
  double low = 0;
  double high = 0;
};

class Table final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override;
  void Finalize() override;

  // Starts a group, to which the next rows belong.
  void begin(const std::string& group) { group_ = group; }
  // Adds the lines "work<TAB>who<TAB>median[<TAB>low<TAB>high]" that a command prints.
  void read(const std::string& command);
  // Notes a peer that could not be measured, and the package that has it.
  void missing(const std::string& who, const std::string& package);

  // Notes a peer's version: a text, or the first line that a command prints.
  void version(const std::string& who, const std::string& text) { versions_[who] = text; }
  void version_by(const std::string& who, const std::string& command);

  void print() const;
  // Returns false if the file cannot be written.
  bool write_json(const std::string& path) const;

 private:
  struct Row {
    std::string work;
    std::string group;
    std::map<std::string, Figure> figures;
  };
  Row& row(const std::string& work);

  std::vector<Row> rows_;
  std::map<std::string, std::vector<double>> measured_;  // of each benchmark's repetitions
  std::vector<std::string> order_;
  std::vector<std::string> missing_;
  std::map<std::string, std::string> versions_;
  std::string group_;
};

}  // namespace works
