#include <fiber/greenlet/debugger_fields.hpp>

#include <fiber/core/debugger.hpp>
#include <fiber/greenlet/object.hpp>

// These classes have virtual functions but no virtual bases, so the offsets are constants.
#pragma GCC diagnostic ignored "-Winvalid-offsetof"

namespace fiber::detail {
namespace {

constexpr core::DebuggerField fields[] = {
    {"ThreadState.greenlets", offsetof(core::ThreadState, layers[kThreadSlot])},
    {"GreenletThread.current", offsetof(GreenletThread, current)},
    {"GreenletThread.main", offsetof(GreenletThread, main)},
    {"GreenletThread.live_head", offsetof(GreenletThread, live)},
    {"GreenletObject.context", offsetof(GreenletObject, context)},
    {"GreenletObject.parent", offsetof(GreenletObject, parent)},
    {"GreenletObject.state", offsetof(GreenletObject, state)},
    {"GreenletObject.is_main", offsetof(GreenletObject, is_main)},
    {"GreenletObject.scheduled", offsetof(GreenletObject, scheduled)},
    {"GreenletObject.waiting", offsetof(GreenletObject, waiting)},
    {"GreenletObject.stack", offsetof(GreenletObject, stack)},
    {"GreenletObject.name", offsetof(GreenletObject, name)},
    {"GreenletObject.next_live", offsetof(GreenletObject, links.next)},
    {"GreenletState.pending", static_cast<std::size_t>(GreenletState::pending)},
    {"GreenletState.suspended", static_cast<std::size_t>(GreenletState::suspended)},
    {"GreenletState.current", static_cast<std::size_t>(GreenletState::current)},
    {"GreenletState.dead", static_cast<std::size_t>(GreenletState::dead)},
    {nullptr, 0},
};
static_assert(sizeof(SharedState) == 1, "read as one byte");
static_assert(sizeof(GreenletObject::name) == sizeof(void*), "read as a pointer");

}  // namespace

void describe_greenlets() noexcept {
  fiber_debugger.layers[kThreadSlot].store(fields, std::memory_order_relaxed);
}

}  // namespace fiber::detail
