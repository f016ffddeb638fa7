#include <fiber/asyncio/exceptions.hpp>

namespace fiber::asyncio {

CancelledError::~CancelledError() = default;
InvalidStateError::~InvalidStateError() = default;

IncompleteReadError::IncompleteReadError(std::string partial, std::size_t expected)
    : EOFError(std::to_string(partial.size()) + " bytes read on a total of " +
               (expected != 0 ? std::to_string(expected) : "undefined") + " expected bytes"),
      partial_(std::move(partial)),
      expected_(expected) {}
IncompleteReadError::~IncompleteReadError() = default;

LimitOverrunError::LimitOverrunError(std::string message, std::size_t consumed)
    : Exception(std::move(message)), consumed_(consumed) {}
LimitOverrunError::~LimitOverrunError() = default;

BrokenBarrierError::~BrokenBarrierError() = default;
QueueEmpty::~QueueEmpty() = default;
QueueFull::~QueueFull() = default;
QueueShutDown::~QueueShutDown() = default;

}  // namespace fiber::asyncio
