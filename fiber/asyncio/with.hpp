// `async with`: entering and leaving may wait, and may throw, which a destructor must not.
#pragma once

#include <fiber/asyncio/coroutines.hpp>
#include <fiber/cxxabi.hpp>
#include <fiber/standard.hpp>

#include <concepts>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace fiber::asyncio {

/// A resource for asyncio::with: enter() returns the block's argument (by reference, or void);
/// exit() is called when the block ends, with the exception that left it or null, and returns true
/// to swallow that exception. Both may wait.
template <class R>
concept context_manager = requires(R& resource, std::exception_ptr error) {
  resource.enter();
  { resource.exit(error) } -> std::same_as<bool>;
};

namespace detail {

/// Returns a copy of a counted reference, so that it outlives the caller's; other objects by
/// reference.
template <class R>
decltype(auto) hold(R& resource) {
  if constexpr (requires { typename std::remove_const_t<R>::counted_handle; })
    return std::remove_const_t<R>(resource);
  else
    return (resource);
}

/// The result of a block, until its resource has been left.
template <class Result>
struct BlockResult {
  std::optional<Result> value;
  template <class Block>
  void take(Block& block) {
    value.emplace(block());
  }
  Result give() {
    if (value) return std::move(*value);
    if constexpr (std::default_initializable<Result>)
      return Result();
    else
      throw RuntimeError("the block of asyncio::with has no result: its exception was swallowed");
  }
};
template <class Result>
struct BlockResult<Result&> {
  Result* value = nullptr;
  template <class Block>
  void take(Block& block) {
    value = std::addressof(block());
  }
  Result& give() {
    if (value != nullptr) return *value;
    throw RuntimeError("the block of asyncio::with has no result: its exception was swallowed");
  }
};
template <>
struct BlockResult<void> {
  template <class Block>
  void take(Block& block) {
    block();
  }
  void give() noexcept {}
};

template <class R, class Block>
auto run_block(R& resource, Block& block) -> result_of_t<decltype(block())> {
  BlockResult<result_of_t<decltype(block())>> result;
  std::exception_ptr error;
  try {
    result.take(block);
  } catch (const fiber::detail::forced_unwind&) {
    throw;
  } catch (...) {
    error = std::current_exception();
  }
  if (!resource.exit(error) && error) std::rethrow_exception(std::exchange(error, nullptr));
  return result.give();
}

}  // namespace detail

/// Runs Python's `async with resource as entered: body(entered)`; the body may also take no
/// argument. Returns the body's result, or a default-constructed one if leaving swallowed the
/// exception.
template <class R, class Body>
  requires context_manager<std::remove_cvref_t<R>>
decltype(auto) with(R&& given, Body&& body) {
  auto&& resource = detail::hold(given);
  if constexpr (std::is_void_v<decltype(resource.enter())>) {
    resource.enter();
    const auto block = [&]() -> decltype(auto) {
      if constexpr (std::invocable<Body&>)
        return body();
      else
        return body(resource);
    };
    return detail::run_block(resource, block);
  } else {
    auto&& entered = resource.enter();
    const auto block = [&]() -> decltype(auto) {
      if constexpr (std::invocable<Body&, decltype((entered))>)
        return body(entered);
      else
        return body();
    };
    return detail::run_block(resource, block);
  }
}

}  // namespace fiber::asyncio
