// The time on a loop's clock.
#pragma once

#include <fiber/asyncio.hpp>

#include <chrono>
#include <string>

namespace support {

// Counts from its beginning, in whole seconds of the running loop's clock.
struct Clock {
  std::chrono::seconds::rep passed() const {
    return (fiber::asyncio::get_running_loop().time() - begin) / std::chrono::seconds(1);
  }
  // "3s".
  std::string now() const { return std::to_string(passed()) + "s"; }

  fiber::asyncio::nanoseconds begin = fiber::asyncio::get_running_loop().time();
};

}  // namespace support
