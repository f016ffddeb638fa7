// Measures the works of the library and of its peers in one run and prints a table: medians of
// several rounds, interleaved at random so that the machine's drift affects all alike, with their
// spread and the ratios to the library's figure.
//
//   bench [GROUP...] [--json FILE] [--peers DIR] [--quick] [Google Benchmark's options]
//
// Groups: switches generators tasks synchronization threads growth scale memory echo files http
// headers;
// all of them unless some are named. With --peers the programs of that directory (CPython, Go,
// servers and clients, the compiler) are run too, where their tools are there.
#include "memory.hpp"
#include "table.hpp"
#include "works.hpp"

#include <boost/version.hpp>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace works {

void settle_floating_point() {
  volatile double one = 1.0;
  one = one / 3.0;
}

}  // namespace works

namespace {

const std::set<std::string> other_groups = {"memory", "echo", "files", "http", "headers"};
const std::map<std::string, void (*)()> groups = {
    {"switches", works::add_switches}, {"generators", works::add_generators},
    {"tasks", works::add_tasks},       {"synchronization", works::add_synchronization},
    {"threads", works::add_threads},   {"growth", works::add_growth},
    {"scale", works::add_scale},
};

struct Options {
  std::set<std::string> chosen;
  std::string peers;
  std::string json;
  std::vector<char*> rest;
};

bool has(const char* test) {
  return std::system((std::string(test) + " >/dev/null 2>&1").c_str()) == 0;
}

std::string quoted(const std::string& path) { return "'" + path + "'"; }

// Returns the folder of this program, which has the servers and clients.
std::string own_path() {
  char path[4096];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  return length > 0 ? std::string(path, static_cast<std::size_t>(length)) : "bench";
}

void read_peers(works::Table& table, const Options& options) {
  std::string names;
  for (const std::string& name : options.chosen) names += " " + name;
  std::string python;
  for (const char* candidate : {"/usr/bin/python3", "python3"})
    if (python.empty() && has((std::string(candidate) + " -c 'import greenlet, uvloop'").c_str()))
      python = candidate;
  if (python.empty() && has("command -v python3")) python = "python3";
  if (python.empty()) {
    table.missing("CPython", "python3");
  } else {
    if (!has((python + " -c 'import greenlet'").c_str()))
      table.missing("greenlet", "python3-greenlet");
    if (!has((python + " -c 'import uvloop'").c_str())) table.missing("uvloop", "python3-uvloop");
    table.version_by("CPython", python + " -c 'import platform; print(platform.python_version())'");
    for (const char* module : {"greenlet", "uvloop"})
      table.version_by(module, python +
                                   " -c 'import importlib.metadata; print(importlib.metadata." +
                                   "version(\"" + module + "\"))'");
    table.read(python + " " + quoted(options.peers + "/cpython.py") + names);
  }
  if (has("command -v go")) {
    table.version_by("Go", "go env GOVERSION | tr -d go");
    table.read("GOMAXPROCS=1 go run " + quoted(options.peers + "/golang.go") + names);
  } else {
    table.missing("Go", "golang-go");
  }
#ifndef BENCHMARK_BOOST_FIBER
  table.missing("Boost.Fiber", "libboost-fiber-dev");
#endif
#ifndef BENCHMARK_BOOST_COROUTINE2
  table.missing("Boost.Coroutine2", "libboost-dev");
#endif
#ifndef BENCHMARK_LIBUV
  table.missing("libuv", "libuv1-dev");
#endif
  table.begin("headers");
  if (options.chosen.count("headers") != 0 && !python.empty())
    table.read(python + " " + quoted(options.peers + "/headers.py") + " " +
               quoted(options.peers + "/../../.."));
  if (!has("command -v openssl")) table.missing("TLS echo", "openssl");
  for (const auto& [name, script] :
       {std::pair{"echo", "/echo.py"}, {"files", "/files.py"}, {"http", "/http_servers.py"}}) {
    table.begin(name);
    if (options.chosen.count(name) == 0 || python.empty()) continue;
    const std::string own = own_path();
    table.read(python + " " + quoted(options.peers + script) + " " +
               quoted(own.substr(0, own.rfind('/'))));
  }
}

int usage(const char* what) {
  std::fprintf(stderr, "bench: %s; see the head of test/benchmark/main.cpp\n", what);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  works::settle_floating_point();
  Options options;
  static char interleave[] = "--benchmark_enable_random_interleaving=true";
  static char repetitions[] = "--benchmark_repetitions=7";
  static char quick[] = "--benchmark_repetitions=3";
  static char short_time[] = "--benchmark_min_time=0.05";
  options.rest = {argv[0], interleave, repetitions, short_time};
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--memory" && i + 1 < argc) return works::measure_memory(argv[i + 1]) ? 0 : 2;
    if (word == "--json" || word == "--peers") {
      if (++i == argc) return usage("a file or directory is missing after the last option");
      (word == "--json" ? options.json : options.peers) = argv[i];
    } else if (word == "--quick") {
      options.rest.push_back(quick);
    } else if (word[0] == '-') {
      options.rest.push_back(argv[i]);
    } else if (groups.count(word) != 0 || other_groups.count(word) != 0) {
      options.chosen.insert(word);
    } else {
      return usage(("there is no group '" + word + "'").c_str());
    }
  }
  if (options.chosen.empty()) {
    for (const auto& [name, add] : groups) options.chosen.insert(name);
    options.chosen.insert(other_groups.begin(), other_groups.end());
  }

  int count = static_cast<int>(options.rest.size());
  benchmark::Initialize(&count, options.rest.data());
  if (benchmark::ReportUnrecognizedArguments(count, options.rest.data())) return 2;
  works::Table table;
  for (const char* name :
       {"switches", "generators", "tasks", "synchronization", "threads", "growth", "scale"}) {
    if (options.chosen.count(name) == 0) continue;
    table.begin(name);
    groups.at(name)();
    benchmark::RunSpecifiedBenchmarks(&table);
    benchmark::ClearRegisteredBenchmarks();
  }
  table.begin("memory");
  if (options.chosen.count("memory") != 0)
    for (const std::string& name : works::memory_works())
      table.read(quoted(own_path()) + " --memory " + quoted(name));
#ifdef BOOST_LIB_VERSION
  table.version("Boost", BOOST_LIB_VERSION);
#endif
  if (!options.peers.empty()) read_peers(table, options);
  table.print();
  if (!options.json.empty() && !table.write_json(options.json))
    return usage(("cannot write " + options.json).c_str());
  return 0;
}
