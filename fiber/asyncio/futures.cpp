#include <fiber/asyncio/futures.hpp>

#include <utility>

namespace fiber::asyncio::detail {

void refuse_taken() {
  throw InvalidStateError(
      "The result was taken already: it cannot be copied, so that the first await moved it out.");
}

void add_done_callback(FutureBase& future, core::Ref<HandleObject> handle) {
  prepare(handle.get());
  handle->call_once();
  future.add_or_schedule(std::move(handle));
}

void add_done_callback(FutureBase& future, core::Ref<HandleObject> handle,
                       const CallOptions& options) {
  prepare(handle.get(), options);
  handle->call_once();
  future.add_or_schedule(std::move(handle));
}

namespace {

template <class Wanted>
std::size_t remove_if(FutureBase& future, Wanted wanted) {
  // Destructors of removed callbacks may change the future's list.
  core::List<Callback> removed;
  std::size_t count = 0;
  for (Callback& each : future.callbacks()) {
    if (each.kind != Callback::Kind::handle || !wanted(static_cast<HandleObject*>(&each))) continue;
    future.remove(&each);
    removed.prepend(each);
    ++count;
  }
  while (Callback* callback = removed.pop()) static_cast<HandleObject*>(callback)->abandon();
  return count;
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
