#include <fiber/asyncio/futures.hpp>

#include <vector>

namespace fiber::asyncio::detail {

void refuse_taken() {
  throw InvalidStateError(
      "The result was taken already: it cannot be copied, so that the first await moved it out.");
}

void add_done_callback(FutureBase& future, HandleObject* handle) {
  prepare(handle);
  future.add_or_schedule(handle);
}

void add_done_callback(FutureBase& future, HandleObject* handle, const call_options& options) {
  prepare(handle, options);
  future.add_or_schedule(handle);
}

namespace {

template <class Wanted>
std::size_t remove_if(FutureBase& future, Wanted wanted) {
  std::vector<HandleObject*> removed;
  for (Callback* at = future.first_callback(); at != nullptr; at = at->next)
    if (at->kind == Callback::Kind::handle && wanted(static_cast<HandleObject*>(at)))
      removed.push_back(static_cast<HandleObject*>(at));
  for (HandleObject* handle : removed) future.remove(handle);
  for (HandleObject* handle : removed) handle->release();
  return removed.size();
}

}  // namespace

std::size_t remove_done_callback(FutureBase& future, const HandleObject* handle) {
  return remove_if(future, [handle](const HandleObject* each) { return each == handle; });
}

std::size_t remove_done_callbacks(FutureBase& future, const core::Type& type,
                                  const void* function) {
  return remove_if(future, [&](const HandleObject* each) { return each->calls(type, function); });
}

}  // namespace fiber::asyncio::detail
