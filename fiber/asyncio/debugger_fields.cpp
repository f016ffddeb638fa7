#include <fiber/asyncio/debugger_fields.hpp>

#include <fiber/asyncio/base_tasks.hpp>
#include <fiber/core/debugger.hpp>

// These classes have virtual functions but no virtual bases, so the offsets are constants.
#pragma GCC diagnostic ignored "-Winvalid-offsetof"

namespace fiber::asyncio::detail {

// One member more would make each task 64 bytes larger, and `create_task` by a tenth slower.
static_assert(sizeof(void*) != 8 || sizeof(TaskBase) <= 6 * core::kCacheLine);

void DebuggerFields::describe() noexcept {
  static constexpr core::DebuggerField fields[] = {
      {"ThreadState.asyncio", offsetof(core::ThreadState, layers[kThreadSlot])},
      {"AsyncioThread.running", offsetof(AsyncioThread, running)},
      {"AsyncioThread.set", offsetof(AsyncioThread, set)},
      {"LoopObject.tasks_head", offsetof(LoopObject, tasks_.unfinished_)},
      {"LoopObject.current_task", offsetof(LoopObject, turns_.current_task)},
      {"FutureBase.is_task", offsetof(FutureBase, is_task_)},
      {"FutureBase.loop", offsetof(FutureBase, loop_)},
      {"FutureBase.state", offsetof(FutureBase, state_)},
      {"TaskBase.next_task", offsetof(TaskBase, links.next)},
      {"TaskBase.resume_point", offsetof(TaskBase, resume_point)},
      {"TaskBase.waiting_on", offsetof(TaskBase, waiting_on_)},
      {"TaskBase.name", offsetof(TaskBase, name_)},
      {"TaskBase.number", offsetof(TaskBase, number_)},
      {"TaskBase.coroutine_name", offsetof(TaskBase, coroutine_name_)},
      {"TaskBase.coroutine_kind", offsetof(TaskBase, coroutine_kind_)},
      {"CoroutineName.type", static_cast<std::size_t>(CoroutineName::Kind::type)},
      {"CoroutineName.signature", static_cast<std::size_t>(CoroutineName::Kind::signature)},
      {"CoroutineName.function", static_cast<std::size_t>(CoroutineName::Kind::function)},
      {"TaskGreenlet.task", offsetof(TaskGreenlet, task)},
      {nullptr, 0},
  };
  fiber_debugger.layers[kThreadSlot].store(fields, std::memory_order_relaxed);
}

}  // namespace fiber::asyncio::detail
