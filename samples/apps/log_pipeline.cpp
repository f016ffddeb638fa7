// log_pipeline: a log is read, parsed, filtered and summed up by generators (`log_pipeline FILE`).
//
// Each stage pulls from the one before, item by item: a log of any length takes no more memory than
// a line. A stage is a function that reads like a loop over the whole. Without a file a small log
// is made up.
#include <fiber/generator.hpp>

#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <ranges>
#include <sstream>
#include <string>
#include <string_view>

#include "../tutorial/support/print.hpp"

using fiber::Generator;

struct Request {
  std::string address, path;
  int status = 0;
  long bytes = 0;
};

Generator<std::string> lines(std::istream& in) {
  return [&in](auto& self) {
    for (std::string line; std::getline(in, line);) self.yield(std::move(line));
  };
}

// Parses `10.0.0.1 - - [date] "GET /path HTTP/1.1" 200 1234`; skips other lines.
Generator<Request> requests(Generator<std::string> from) {
  return [from](auto& self) {
    for (const std::string& line : from) {
      const auto quote = line.find('"'), end = line.find('"', quote + 1);
      if (end == std::string::npos) continue;
      Request request;
      std::string method;
      std::istringstream(line) >> request.address;
      std::istringstream(line.substr(quote + 1, end - quote - 1)) >> method >> request.path;
      if (!(std::istringstream(line.substr(end + 1)) >> request.status >> request.bytes)) continue;
      self.yield(std::move(request));
    }
  };
}

// Consecutive requests of one address, as one item.
struct Visit {
  std::string address;
  int pages = 0;
  long bytes = 0;
};
Generator<Visit> visits(Generator<Request> from) {
  return [from](auto& self) {
    std::optional<Visit> visit;
    for (const Request& request : from) {
      if (visit && visit->address != request.address) self.yield(*std::exchange(visit, {}));
      if (!visit) visit = Visit{request.address};
      ++visit->pages;
      visit->bytes += request.bytes;
    }
    if (visit) self.yield(*visit);
  };
}

std::string made_up_log() {
  std::string log;
  for (int i = 0; i < 12; ++i) {
    log += "10.0.0." + std::to_string(1 + i / 4) + " - - [25/Nov/2026] \"GET /page" +
           std::to_string(i % 3) + " HTTP/1.1\" " + (i % 5 == 4 ? "404 0" : "200 1000") + "\n";
    if (i == 6) log += "what is this?\n";
  }
  return log;
}

int main(int count, char** arguments) {
  std::ifstream file;
  std::istringstream made_up(made_up_log());
  if (count > 1) {
    file.open(arguments[1]);
    // A folder can be opened, and gives an error when it is read.
    if (!file || (file.peek(), file.bad())) {
      std::cerr << "log_pipeline: cannot read " << arguments[1] << '\n';
      return 1;
    }
  }
  std::istream& log = count > 1 ? static_cast<std::istream&>(file) : made_up;

  std::map<int, int> statuses;
  const auto counted = [&](const Request& request) {
    ++statuses[request.status];
    return request.status == 200;
  };
  // A stage may be a range adaptor of the standard library as well.
  const Generator<Request> good = [&](auto& self) {
    self.yield_from(requests(lines(log)) | std::views::filter(counted));
  };
  for (const Visit& visit : visits(good))
    print(visit.address, "saw", visit.pages, "pages,", visit.bytes, "bytes");
  for (const auto& [status, times] : statuses) print("status", status, "came", times, "times");
}
