// A future of one of the types that scenarios create.
#pragma once

#include "value.hpp"

#include <fiber/asyncio.hpp>

#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace differential {

namespace asyncio = fiber::asyncio;

using Outcomes = std::vector<asyncio::Outcome<Value>>;
template <class A, class B>
using Pair = asyncio::Future<std::tuple<A, B>>;
template <class A, class B>
using OutcomePair = asyncio::Future<std::tuple<asyncio::Outcome<A>, asyncio::Outcome<B>>>;

using AnyFuture =
    std::variant<asyncio::Task<Value>, asyncio::Future<Value>, asyncio::Future<List>,
                 asyncio::Future<Outcomes>, Pair<Value, Value>, Pair<Value, List>,
                 Pair<Value, Outcomes>, Pair<List, Value>, Pair<List, List>, Pair<List, Outcomes>,
                 Pair<Outcomes, Value>, Pair<Outcomes, List>, Pair<Outcomes, Outcomes>,
                 OutcomePair<Value, Value>, OutcomePair<Value, List>, OutcomePair<Value, Outcomes>,
                 OutcomePair<List, Value>, OutcomePair<List, List>, OutcomePair<List, Outcomes>,
                 OutcomePair<Outcomes, Value>, OutcomePair<Outcomes, List>,
                 OutcomePair<Outcomes, Outcomes>>;

inline Value as_value(const Value& value) { return value; }
template <class T>
Value as_value(const std::vector<T>& items);
template <class T>
Value as_value(const asyncio::Outcome<T>& outcome) {
  return outcome.has_value() ? as_value(outcome.value()) : Value(outcome.exception());
}
template <class T>
Value as_value(const std::vector<T>& items) {
  List list;
  for (const T& item : items) list.push_back(as_value(item));
  return Value(std::move(list));
}
template <class... T>
Value as_value(const std::tuple<T...>& items) {
  return std::apply([](const T&... item) { return Value(List{as_value(item)...}); }, items);
}

// The result type of a future or task.
template <class F>
using result_of = typename std::remove_cvref_t<F>::result_type;

inline const asyncio::FutureRef& as_ref(const AnyFuture& future) {
  return std::visit([](const auto& f) -> const asyncio::FutureRef& { return f; }, future);
}

// Returns the plain future; null if the future is a gather or the shield of a gather.
inline const asyncio::Future<Value>* as_plain(const AnyFuture& future) {
  if (auto* task = std::get_if<asyncio::Task<Value>>(&future)) return task;
  return std::get_if<asyncio::Future<Value>>(&future);
}

}  // namespace differential
