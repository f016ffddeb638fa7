#include <fiber/asyncio/base_handles.hpp>

#include <fiber/asyncio/base_events.hpp>
#include <fiber/core/trashcan.hpp>
#include <fiber/demangle.hpp>

#include <typeinfo>

namespace fiber::asyncio::detail {

namespace {

// A callable may own another handle or future, whose callable owns the next.
struct HandleEnd {
  static Callback*& next(Callback& object) noexcept { return object.links.next; }
  static void destroy(Callback& object) noexcept { delete static_cast<HandleObject*>(&object); }
};
constexpr std::size_t kTrashSlot = 2;  // see core::Nesting
constinit thread_local core::Trashcan<Callback, HandleEnd, kTrashSlot> trashcan;

}  // namespace

HandleObject::~HandleObject() = default;

void HandleObject::unreferenced() noexcept { trashcan.end(*this); }

std::string HandleObject::repr() const {
  // Takes the callable's type out of "…HandleOf<main::{lambda()#1}>".
  std::string type = core::demangle(typeid(*this));
  const std::size_t open = type.find('<');
  if (open != std::string::npos && type.ends_with('>')) {
    type = type.substr(open + 1, type.size() - open - 2);
    // Cuts off a done-callback's second parameter; the first is the type of the result.
    int depth = 0;
    for (std::size_t i = 0; i < type.size(); ++i) {
      if (type[i] == '<' || type[i] == '(') ++depth;
      if (type[i] == '>' || type[i] == ')') --depth;
      if (depth == 0 && type.compare(i, 2, ", ") == 0) {
        type.erase(0, i + 2);
        break;
      }
    }
  }
  std::string text = dynamic_cast<const TimerObject*>(this) != nullptr ? "<TimerHandle" : "<Handle";
  if (cancelled()) text += " cancelled";
  text += " " + type + "()";
  if (created != nullptr) text += " created at " + created->place();
  return text + ">";
}

void HandleObject::cancel() noexcept {
  cancelled_.store(true, std::memory_order_relaxed);
  // The loop may be gone, or run on another thread: then it drops the callable itself.
  if (running_loop_or_null() == loop_) drop_callable();
}

void HandleObject::drop_callable() noexcept {
  if (!has_callable_ || called_now_) return;
  has_callable_ = false;
  retain();  // the callable may hold the last reference
  destroy_callable();
  release();
}

void TimerObject::cancel() noexcept {
  if (node.index == TimerNode::kNotInHeap) {
    HandleObject::cancel();
    return;
  }
  loop()->remove_timer(&node);
  HandleObject::cancel();
  drop_callable();  // the loop will not run this timer
  release();        // the heap's reference
}

}  // namespace fiber::asyncio::detail
