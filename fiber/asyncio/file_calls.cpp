#include <fiber/asyncio/file_calls.hpp>

#include <atomic>

namespace fiber::asyncio::detail {
namespace {

constinit std::atomic<BeginFileCall> begin_file_call{nullptr};

}  // namespace

void set_file_calls(BeginFileCall begin) noexcept { begin_file_call = begin; }

BeginFileCall file_calls() noexcept { return begin_file_call.load(std::memory_order_acquire); }

}  // namespace fiber::asyncio::detail
