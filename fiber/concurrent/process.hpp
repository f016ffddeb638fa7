// Python's concurrent.futures.ProcessPoolExecutor (library fiber-process; needs cereal).
//
// Arguments and results cross by <cereal>: numbers, strings, and the containers whose cereal
// headers are included below cross as they are; for further types include the cereal header or give
// the type a serialize() function, as cereal's manual says.
#pragma once

#include <fiber/concurrent/executor.hpp>
#include <fiber/config.hpp>

#include <cereal/archives/binary.hpp>
#include <cereal/types/array.hpp>
#include <cereal/types/chrono.hpp>
#include <cereal/types/map.hpp>
#include <cereal/types/optional.hpp>
#include <cereal/types/set.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/tuple.hpp>
#include <cereal/types/unordered_map.hpp>
#include <cereal/types/utility.hpp>
#include <cereal/types/vector.hpp>

#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace fiber::concurrent::futures {

/// A worker process ended before its time: killed, crashed, ended by its job, or its initializer
/// threw. All unfinished work gets this error, and so does every later submit().
class FIBER_API BrokenProcessPool : public BrokenExecutor {
 public:
  using BrokenExecutor::BrokenExecutor;
  ~BrokenProcessPool() override;
};

/// Keyword arguments of ProcessPoolExecutor.
struct ProcessPoolOptions {
  std::optional<int> max_workers = {};     ///< default: the number of processors
  std::function<void()> initializer = {};  ///< called first in each worker process
};

namespace detail {

/// A call in the form in which it crosses: the address of the function that unpacks it (workers are
/// forks of this process and have equal addresses), then the data that this function needs.
using Unpack = std::string (*)(const std::string& request);

class FIBER_API RemoteWork {
 public:
  explicit RemoteWork(std::string request) : request_(std::move(request)) {}
  RemoteWork(const RemoteWork&) = delete;
  RemoteWork& operator=(const RemoteWork&) = delete;
  virtual ~RemoteWork();
  virtual const FutureBase& future() const noexcept = 0;
  /// Ends the future with the worker's answer.
  virtual void set_result(std::string reply) = 0;
  std::string take_request() { return std::move(request_); }

 private:
  std::string request_;
};

/// Text is passed as std::string, everything else as itself.
template <class T>
using Crossing =
    std::conditional_t<std::is_convertible_v<T, std::string_view>, std::string, std::decay_t<T>>;

template <class F>
concept CallableThatCrosses =
    (std::is_pointer_v<F> && std::is_function_v<std::remove_pointer_t<F>>) ||
    std::is_member_function_pointer_v<F> ||
    (std::is_empty_v<F> && std::is_default_constructible_v<F>);

template <class T>
concept ValueThatCrosses =
    !std::is_pointer_v<T> && std::is_default_constructible_v<T> &&
    cereal::traits::is_output_serializable<T, cereal::BinaryOutputArchive>::value &&
    cereal::traits::is_input_serializable<T, cereal::BinaryInputArchive>::value;

template <class T>
void load(std::istream& in, T& value) {
  cereal::BinaryInputArchive archive(in);
  archive(value);
}

template <class T>
std::string dump(std::string head, const T& value) {
  std::ostringstream out(std::move(head), std::ios::binary | std::ios::ate);
  cereal::BinaryOutputArchive archive(out);
  archive(value);
  return std::move(out).str();
}

template <class F, class... Args>
struct RemoteCall {
  static_assert(CallableThatCrosses<F>,
                "ProcessPoolExecutor: only a function, a member function or a lambda without "
                "captures can be called in another process; pass what it needs as arguments");
  static_assert((... && ValueThatCrosses<Args>),
                "ProcessPoolExecutor: every argument must be default-constructible and "
                "serializable by cereal (is its cereal header included?)");
  static_assert(std::is_invocable_v<F, Args...>,
                "ProcessPoolExecutor: the function cannot be called with these arguments (text "
                "arrives as std::string; there are no references to variables of this process)");
  using Result = CallResult<F, Args...>;
  static_assert(std::is_void_v<Result> || ValueThatCrosses<Result>,
                "ProcessPoolExecutor: the result must be default-constructible and serializable "
                "by cereal (is its cereal header included?)");

  static std::string pack(const F& fn, Args... args) {
    const Unpack unpack = &RemoteCall::call;
    std::string head(reinterpret_cast<const char*>(&unpack), sizeof unpack);
    if constexpr (!std::is_empty_v<F>) head.append(reinterpret_cast<const char*>(&fn), sizeof fn);
    return dump(std::move(head), std::tuple<Args...>(std::move(args)...));
  }

  /// Runs in the worker: unpacks and makes a call, and returns the packed result.
  static std::string call(const std::string& request) {
    F fn{};
    std::istringstream in(request, std::ios::binary);
    in.ignore(sizeof(Unpack));
    if constexpr (!std::is_empty_v<F>) in.read(reinterpret_cast<char*>(&fn), sizeof fn);
    std::tuple<Args...> args;
    load(in, args);
    if constexpr (std::is_void_v<Result>) {
      std::apply(fn, std::move(args));
      return {};
    } else {
      return dump({}, static_cast<const Result&>(std::apply(fn, std::move(args))));
    }
  }

  class Job final : public RemoteWork {
   public:
    using RemoteWork::RemoteWork;
    const Future<Result>& future() const noexcept override { return future_; }
    void set_result(std::string reply) override {
      if constexpr (std::is_void_v<Result>) {
        future_.set_result();
      } else {
        Result value{};
        std::istringstream in(std::move(reply), std::ios::binary);
        load(in, value);
        future_.set_result(std::move(value));
      }
    }

   private:
    Future<Result> future_;
  };
};

}  // namespace detail

/// Runs calls in processes of its own. All processes are forked at the first submit(), from a
/// thread of the pool's own, while the submitting thread stands still, and are copies of this
/// process as it was then. As always after fork(), a job must not need a lock that another thread
/// held at that moment, nor a thread of the parent; so submit the first call before threads are
/// busy. Callbacks of futures run in that thread of the pool, too.
///
/// A job's exception comes back with its type, if that is one of fiber/exceptions.hpp,
/// fiber/exceptions/files.hpp, fiber/concurrent/future_state.hpp or `<stdexcept>`, or
/// std::bad_alloc; otherwise as OSError with its error_number() if it derives from that, else as
/// RuntimeError; its message is kept. Output of a job to stdout is flushed when the job ends.
/// Workers end with the pool, and with the parent when that dies. Signal handlers are reset in
/// them.
///
/// At most max_workers + 1 futures are `running`, the last of which waits for a free worker, as
/// CPython keeps one call in reserve; the others are pending and can be cancelled.
class FIBER_API ProcessPoolExecutor final : public Executor,
                                            public detail::Maps<ProcessPoolExecutor> {
 public:
  /// Throws ValueError if max_workers is not positive.
  explicit ProcessPoolExecutor(ProcessPoolOptions options = {});
  /// Waits for all work; see Executor.
  ~ProcessPoolExecutor() override;

  /// Has fn(args...) called in a worker. fn is a function, a member function or a lambda without
  /// captures; arguments and the result are values that cereal can serialise (arguments are
  /// serialised here and now). Errors of serialising end the future. Throws RuntimeError after a
  /// shutdown, BrokenProcessPool when a worker is gone, OSError when the workers cannot be started.
  template <class F, class... Args>
  auto submit(const F& fn, Args&&... args) {
    using Call = detail::RemoteCall<std::decay_t<const F&>, detail::Crossing<Args>...>;
    using Result = typename Call::Result;
    std::exception_ptr error;
    std::string request;
    try {
      request = Call::pack(fn, detail::Crossing<Args>(std::forward<Args>(args))...);
    } catch (...) {
      error = std::current_exception();
    }
    auto work = std::make_unique<typename Call::Job>(std::move(request));
    Future<Result> future = work->future();
    if (error)
      future.set_exception(std::move(error));
    else
      submit_remote(std::move(work));
    return future;
  }

  /// Submits calls as Executor::map does.
  using detail::Maps<ProcessPoolExecutor>::map;

  void shutdown(ShutdownOptions options = {}) override;

 protected:
  /// Throws TypeError: a submit() through an Executor& ends here, and its call cannot be
  /// serialised.
  void submit_work(std::unique_ptr<Work> work) override;

 private:
  class Processes;
  void submit_remote(std::unique_ptr<detail::RemoteWork> work);
  std::shared_ptr<Processes> processes_;
};

}  // namespace fiber::concurrent::futures
