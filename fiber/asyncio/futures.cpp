#include <fiber/asyncio/futures.hpp>

namespace fiber::asyncio::detail {

void add_done_callback(FutureBase& future, HandleObject* handle) {
  if (auto* context = fiber::detail::greenlet_thread().current->context_variables)
    handle->context = contextvars::detail::copy(context);
  future.add_or_schedule(handle);
}

std::size_t remove_done_callback(FutureBase& future, const HandleObject* handle) {
  std::size_t count = 0;
  for (Callback* at = future.first_callback(); at != nullptr;) {
    Callback* next = at->next;
    if (at == handle) {
      future.remove(at);
      static_cast<HandleObject*>(at)->release();
      ++count;
    }
    at = next;
  }
  return count;
}

}  // namespace fiber::asyncio::detail
