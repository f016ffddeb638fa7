// The common parts of scenarios with transports.
#pragma once

#include <fiber/asyncio.hpp>

#include <exception>
#include <string>
#include <string_view>

namespace faults {

// Closes a transport or a server, whatever fails.
template <class Object>
struct Closing {
  Object its;
  ~Closing() { its.close(); }
};

// Keeps the bytes that come; `ended` is done once the connection is lost.
struct Collector : fiber::asyncio::Protocol {
  void data_received(std::string_view data) override { text += data; }
  void connection_lost(const std::exception_ptr&) override {
    if (!ended.done()) ended.set_result();
  }
  std::string text;
  fiber::asyncio::Future<> ended = fiber::asyncio::get_running_loop().create_future<>();
};

}  // namespace faults
