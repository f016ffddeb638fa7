// The questions to every client library: many calls at once in one thread, errors, time limits and
// cancellation. The file of a library makes the library's calls, and knows nothing of fibers.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>

namespace legacy_test {

// A library's text for a call that failed.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Client {
  std::string library;
  std::string version;
  /// A function of the object that is patched, with what that calls through; null: the program.
  const char* function;
  /// The server that answers, and its port.
  std::string server;
  int port;
  /// A whole exchange with the server at a port of 127.0.0.1. Returns `answer`; throws Failure.
  std::function<std::string(int port)> call;
  std::string answer;

  int at_once = 50;
  bool datagrams = false;  ///< UDP
  /// Threads of the process meanwhile.
  int most_threads = 1;
  bool closes_later = false;  ///< descriptors are closed by a thread of the library
  bool tries_again = false;   ///< for ever, when a connection breaks
};

/// Fails the running test case where something is not as it should be, and prints the row.
void try_out(const Client& client);

/// A row of the table of libraries in fiber/monkey/README.md, for which the script `table` gathers
/// the printed rows.
struct Row {
  std::string library, server;
  int at_once;
  double one, all;  ///< seconds
  std::string error, cut_short;
  std::string policy;
};
void print(const Row& row);

}  // namespace legacy_test
