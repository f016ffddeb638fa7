// The event loop and its handles. Python: asyncio.events, asyncio.base_events.
#pragma once

#include <fiber/asyncio/base_events.hpp>
#include <fiber/asyncio/detail/hosts.hpp>
#include <fiber/asyncio/exceptions.hpp>
#include <fiber/asyncio/file_descriptor.hpp>
#include <fiber/asyncio/time_limit.hpp>
#include <fiber/contextvars.hpp>
#include <fiber/standard.hpp>
#include <fiber/generator.hpp>

#include <concepts>
#include <iosfwd>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace fiber::asyncio {

template <class T>
class Future;
template <class T>
class Task;
class FutureRef;
class SocketAddress;
class Transport;
struct ConnectAcceptedSocketOptions;
struct CreateConnectionOptions;
struct CreateDatagramEndpointOptions;
struct CreateServerOptions;
struct CreateUnixConnectionOptions;
struct CreateUnixServerOptions;
struct ExceptionContext;  // an error that no code waits for
struct GetaddrinfoOptions;
struct LoopStartTlsOptions;
struct SendfileOptions;
struct SubprocessOptions;

/// A callback that waits to be called. A counted reference; dropping it does not cancel. Python:
/// asyncio.Handle.
class FIBER_API Handle {
 public:
  Handle() noexcept = default;
  /// Prevents the call, if it has not begun. From any thread (a TimerHandle: the loop's). The
  /// callable and its captures are destroyed: on the thread that runs the loop at once, or after
  /// the call if cancel() is called inside the callable; after a cancel() on another thread, when
  /// the loop would have called the callable.
  void cancel() const noexcept;
  bool cancelled() const noexcept;  ///< true after cancel()
  /// Returns the context in which the callback runs. Throws ValueError for a null handle.
  contextvars::Context get_context() const;
  /// Returns Python's repr, with the callable's C++ type in place of its name.
  std::string repr() const;

  explicit Handle(core::Ref<detail::HandleObject> object) noexcept : object_(std::move(object)) {}
  explicit operator bool() const noexcept { return bool(object_); }
  detail::HandleObject* object() const noexcept { return object_.get(); }
  const core::Ref<detail::HandleObject>& reference() const noexcept { return object_; }

 private:
  core::Ref<detail::HandleObject> object_;
};

/// A callback with a deadline. Python: asyncio.TimerHandle.
class FIBER_API TimerHandle : public Handle {
 public:
  using Handle::Handle;
  /// Returns the deadline, on the clock of loop.time(). Throws ValueError for a null handle.
  nanoseconds when() const;
};

/// Keyword arguments of call_soon and its relatives.
struct CallOptions {
  contextvars::Context context = nullptr;  ///< null: a copy of the current one
};

/// Keyword arguments of create_task.
struct TaskOptions {
  std::string name = {};                   ///< "": "Task-N"
  contextvars::Context context = nullptr;  ///< null: a copy of the current one
  /// True: the first step is taken inside create_task, if the loop runs. Default: as the loop's
  /// task factory does; false without a factory.
  std::optional<bool> eager_start = {};
  /// Bytes of its stack, rounded up to a power of two; 0: stacks::default_size(), 256 KiB unless
  /// changed. Ours, not Python's.
  std::size_t stack_size = 0;
  /// Bytes of the guard below the stack, rounded up to whole pages; 0:
  /// stacks::default_guard_size(), 68 KiB unless changed. Must be wider than the largest frame of
  /// the task's functions.
  std::size_t guard_size = 0;
  /// The task is a thread to the code that it calls: thread_local variables, errno, the locale, the
  /// owner of a mutex and pthread_self() are its own, and destroyed when it ends. A switch sets the
  /// thread pointer, and a thread is parked for each such task. fiber/monkey/README.md lists the
  /// limits. create_task throws RuntimeError where this is not possible: it needs
  /// Linux, glibc, and arm64 or an x86-64 processor with FSGSBASE. Ours, not Python's.
  bool own_thread_state = false;
  /// With own_thread_state: use system calls without FSGSBASE, which take 200 ns or more a switch.
  bool slow_thread_state = false;
};

namespace detail {

/// Gives a new callback its context and, in debug mode, the place where it is made.
FIBER_API void prepare(HandleObject* handle);
FIBER_API void prepare(HandleObject* handle, const CallOptions& options);
/// Gives it the context alone: from any thread, where the loop's mode cannot be read.
FIBER_API void set_context(HandleObject* handle);
FIBER_API void set_context(HandleObject* handle, const CallOptions& options);

/// True unless F is a coroutine function: as a callback, it would make coroutines without an await.
template <class F>
inline constexpr bool plain_callback = !requires(std::decay_t<F>& callback) {
  callback().await_();
} && !requires(std::decay_t<F>& callback) { std::move(callback()).await_(); };

}  // namespace detail

/// A counted reference to an event loop. Unless said otherwise its members may be called only by
/// the thread that runs the loop (or while none does).
class FIBER_API EventLoop {
 public:
  /// Makes a null handle, which throws ValueError when it is used: see new_event_loop().
  EventLoop() noexcept = default;

  /// Runs until `awaitable` (a future, task, coroutine object or callable) is done; returns its
  /// result. Throws its exception; RuntimeError if a loop runs already in this thread, if tasks of
  /// this one are suspended on another thread (see close), or if the loop is stopped first.
  template <class A>
  decltype(auto) run_until_complete(A&& awaitable) const;
  /// Runs until stop() is called. An exception of a callback goes to the exception handler, except
  /// KeyboardInterrupt and SystemExit, which leave this function.
  void run_forever() const;
  /// Makes run_forever return after the current batch of callbacks.
  void stop() const;
  bool is_running() const;  ///< true inside run_forever and run_until_complete
  bool is_closed() const;   ///< true after close()
  /// Drops queued callbacks and ends the default executor; unfinished tasks are reported, and
  /// unwound. Throws RuntimeError while the loop runs, and on another thread than the one that ran
  /// it as long as tasks of it are suspended there: a thread that ends unwinds them.
  void close() const;

  /// Calls `callback()` in the next iteration; callbacks run in the order of these calls. Throws
  /// RuntimeError when the loop is closed, or runs on another thread.
  template <std::invocable F>
  Handle call_soon(F&& callback) const {
    return queue(make_handle<detail::HandleOf>(std::forward<F>(callback)));
  }
  template <std::invocable F>
  Handle call_soon(F&& callback, const CallOptions& options) const {
    return queue(make_handle<detail::HandleOf>(std::forward<F>(callback), options));
  }
  /// Does call_soon() from any thread; wakes the loop. Throws RuntimeError when the loop is closed.
  template <std::invocable F>
  Handle call_soon_threadsafe(F&& callback) const {
    static_assert(detail::plain_callback<F>, "a callback cannot be a coroutine function");
    auto handle = unprepared_handle<detail::HandleOf>(std::forward<F>(callback));
    detail::set_context(handle.get());
    return post(std::move(handle));
  }
  template <std::invocable F>
  Handle call_soon_threadsafe(F&& callback, const CallOptions& options) const {
    static_assert(detail::plain_callback<F>, "a callback cannot be a coroutine function");
    auto handle = unprepared_handle<detail::HandleOf>(std::forward<F>(callback));
    detail::set_context(handle.get(), options);
    return post(std::move(handle));
  }
  /// Calls `callback()` once `delay` has passed; callbacks with equal deadlines in the order in
  /// which they were set. A cancelled one has no further cost. Throws as call_soon.
  template <detail::any_duration D, std::invocable F>
  TimerHandle call_later(D delay, F&& callback) const {
    return call_at(after(detail::to_nanoseconds(delay)), std::forward<F>(callback));
  }
  template <detail::any_duration D, std::invocable F>
  TimerHandle call_later(D delay, F&& callback, const CallOptions& options) const {
    return call_at(after(detail::to_nanoseconds(delay)), std::forward<F>(callback), options);
  }
  /// Refuses a plain number in one line.
  template <detail::plain_number Number, class F>
  TimerHandle call_later(Number, F&&, const CallOptions& = {}) const {
    static_assert(!detail::plain_number<Number>,
                  "call_later takes a time with its unit: call_later(3s, f)");
    return {};
  }
  /// Does call_later() at a time on the clock of time(): out of its range is never, or long past.
  template <detail::any_duration D, std::invocable F>
  TimerHandle call_at(D when, F&& callback) const {
    return arm(make_handle<detail::TimerOf>(std::forward<F>(callback)), detail::in_ns(when));
  }
  template <detail::any_duration D, std::invocable F>
  TimerHandle call_at(D when, F&& callback, const CallOptions& options) const {
    return arm(make_handle<detail::TimerOf>(std::forward<F>(callback), options),
               detail::in_ns(when));
  }
  nanoseconds time() const;  ///< of the loop's monotonic clock

  template <class T = void>
  Future<T> create_future() const;  ///< pending, and of this loop
  /// Makes a task, as asyncio::create_task does. The loop need not run.
  template <class A>
  [[nodiscard]] auto create_task(A&& coroutine) const;
  template <class A>
  [[nodiscard]] auto create_task(A&& coroutine, const TaskOptions& options) const;
  /// Sets the factory of this loop's tasks, those of the library's own too: given a coroutine
  /// object and create_task's options, it returns TaskRef(coroutine, loop, options). An empty
  /// function restores the default. See eager_task_factory.
  void set_task_factory(task_factory factory) const;
  task_factory get_task_factory() const;  ///< empty for the default

  /// Calls `callback()` in every iteration in which the descriptor is readable (writable), until
  /// the callback is removed. One callback for each event: a new one replaces the old. Throws
  /// ValueError, OSError, and as call_soon RuntimeError on another thread; so do the functions that
  /// remove it.
  template <std::invocable F>
  void add_reader(FileDescriptorLike fd, F&& callback) const {
    watch(fd.fileno(), false, make_handle<detail::HandleOf>(std::forward<F>(callback)));
  }
  bool remove_reader(FileDescriptorLike fd) const;  ///< false if there was no callback
  /// Does for writing what add_reader() does for reading.
  template <std::invocable F>
  void add_writer(FileDescriptorLike fd, F&& callback) const {
    watch(fd.fileno(), true, make_handle<detail::HandleOf>(std::forward<F>(callback)));
  }
  bool remove_writer(FileDescriptorLike fd) const;  ///< false if there was no callback

  /// Calls `callback()` whenever the signal arrives, as an ordinary callback; once per arrival, but
  /// once for several when hundreds of signals come before the loop looks. Replaces an earlier
  /// callback. Only in the main thread. Throws ValueError (no such signal), RuntimeError (the
  /// signal cannot be caught, or this is another thread).
  template <std::invocable F>
  void add_signal_handler(int signal, F&& callback) const {
    object().signals().add_handler(signal,
                                   make_handle<detail::HandleOf>(std::forward<F>(callback)));
  }
  /// Restores the disposition from before the signal was handled here; returns false if it was not.
  /// Closing the loop restores all signals.
  bool remove_signal_handler(int signal) const;

  /// Receives at most `n` bytes, "" at the end. Like all sock_ functions it is for code that has a
  /// descriptor, and is to be awaited: a system call that would block is tried again when the
  /// descriptor is ready. One task may wait to read from a descriptor and one to write to it; it
  /// must stay open meanwhile. All throw OSError. A socket that blocks stops the loop in
  /// sock_connect and sock_accept; in debug mode all of them refuse it by ValueError. Defined in
  /// sock.hpp.
  auto sock_recv(FileDescriptorLike fd, std::size_t n) const;
  /// Receives into memory of the caller's; returns the number of bytes.
  auto sock_recv_into(FileDescriptorLike fd, std::span<char> buffer) const;
  /// Returns a datagram and the address of its sender.
  auto sock_recvfrom(FileDescriptorLike fd, std::size_t n) const;
  /// Receives a datagram into memory of the caller's: returns the number of bytes, and the sender.
  auto sock_recvfrom_into(FileDescriptorLike fd, std::span<char> buffer) const;
  auto sock_sendall(FileDescriptorLike fd, std::string data) const;  ///< sends all bytes
  /// Returns the number of bytes sent.
  auto sock_sendto(FileDescriptorLike fd, std::string data, const SocketAddress& address) const;
  auto sock_connect(FileDescriptorLike fd, const SocketAddress& address) const;  ///< connects
  /// Returns the descriptor of the new connection, which does not block and is the caller's to
  /// close, and the address of its other side.
  auto sock_accept(FileDescriptorLike fd) const;
  /// Sends a file, from `offset` on, by sendfile(2) where that is possible; returns the number of
  /// bytes sent. The file's position is behind them afterwards. Throws ValueError, OSError, and
  /// without `fallback` SendfileNotAvailableError. Defined in sendfile.hpp.
  template <class Options = SendfileOptions>
  auto sock_sendfile(FileDescriptorLike sock, FileDescriptorLike file,
                     const Options& options = {}) const;
  /// Sends a file through a transport, after the data written to it before; options and errors are
  /// those of sock_sendfile.
  template <class Options = SendfileOptions>
  auto sendfile(const Transport& transport, FileDescriptorLike file,
                const Options& options = {}) const;

  /// @{ Connections, servers and pipes that call a protocol, which `factory()` makes: it returns a
  /// std::shared_ptr (or std::unique_ptr) to an object that derives from Protocol,
  /// BufferedProtocol, DatagramProtocol or SubprocessProtocol. Functions that connect return the
  /// transport and the protocol; await them. A given socket is taken over (a number stays the
  /// caller's until the factory has returned). Defined in connections.hpp, datagrams.hpp and
  /// subprocess_protocols.hpp, where the options are.
  template <class F, class Options = CreateConnectionOptions>
  auto create_connection(F&& factory, std::string host, int port,
                         const Options& options = {}) const;
  template <class F, class Options = CreateConnectionOptions>
  auto create_connection(F&& factory, detail::GivenDescriptor sock,
                         const Options& options = {}) const;
  template <class F, class Options = CreateUnixConnectionOptions>
  auto create_unix_connection(F&& factory, std::string path, const Options& options = {}) const;
  template <class F, class Options = CreateUnixConnectionOptions>
  auto create_unix_connection(F&& factory, detail::GivenDescriptor sock,
                              const Options& options = {}) const;
  template <class F, class Options = ConnectAcceptedSocketOptions>
  auto connect_accepted_socket(F&& factory, detail::GivenDescriptor sock,
                               const Options& options = {}) const;
  template <class F, detail::hosts Hosts = std::vector<std::string>,
            class Options = CreateServerOptions>
  auto create_server(F&& factory, Hosts hosts, int port, const Options& options = {}) const;
  template <class F, class Options = CreateServerOptions>
  auto create_server(F&& factory, detail::GivenDescriptor sock, const Options& options = {}) const;
  template <class F, class Options = CreateUnixServerOptions>
  auto create_unix_server(F&& factory, std::string path, const Options& options = {}) const;
  template <class F, class Options = CreateUnixServerOptions>
  auto create_unix_server(F&& factory, detail::GivenDescriptor sock,
                          const Options& options = {}) const;
  template <class F, class Options = CreateDatagramEndpointOptions>
    requires std::same_as<Options, CreateDatagramEndpointOptions>
  auto create_datagram_endpoint(F&& factory, const Options& options) const;
  template <class F, class Options = CreateDatagramEndpointOptions>
  auto create_datagram_endpoint(F&& factory, detail::GivenDescriptor sock,
                                const Options& options = {}) const;
  template <class F>
  auto connect_read_pipe(F&& factory, detail::GivenDescriptor pipe) const;
  template <class F>
  auto connect_write_pipe(F&& factory, detail::GivenDescriptor pipe) const;
  template <class F, class Options = SubprocessOptions>
  auto subprocess_exec(F&& factory, std::vector<std::string> command,
                       const Options& options = {}) const;
  template <class F, class Options = SubprocessOptions>
  auto subprocess_shell(F&& factory, std::string command, const Options& options = {}) const;
  /// @}
  /// Continues over TLS with this protocol; returns the transport to use from then on. Throws
  /// TypeError for a pipe.
  template <class P, class Context, class Options = LoopStartTlsOptions>
  auto start_tls(const Transport& transport, std::shared_ptr<P> protocol, Context sslcontext,
                 const Options& options = {}) const;

  /// Looks names up, on a thread of the default executor unless the host is an address; await it.
  /// Throws gaierror; ValueError for letters beyond ASCII that no host can have (IDNA).
  auto getaddrinfo(std::string host, int port) const;
  auto getaddrinfo(std::string host, int port, const GetaddrinfoOptions& options) const;
  /// Returns host and service; `flags` are NI_ constants.
  auto getnameinfo(const SocketAddress& address, int flags = 0) const;

  /// Runs `function(args...)` on a thread of the executor; nullptr is the default one, made at
  /// first use. Returns a Future of its result. Defined in threads.hpp.
  template <class Executor, class F, class... Args>
  auto run_in_executor(Executor&& executor, F&& function, Args&&... args) const;
  /// Sets the executor for run_in_executor(nullptr, ...): a std::shared_ptr<ThreadPoolExecutor>.
  void set_default_executor(
      std::shared_ptr<concurrent::futures::ThreadPoolExecutor> executor) const;
  /// Closes the generators that were iterated in tasks, but not to their end; await it.
  auto shutdown_asyncgens() const;
  /// Waits until the threads of the default executor have ended, at most for `timeout`; await it.
  /// Running jobs are not stopped. Defined in threads.hpp.
  auto shutdown_default_executor(time_limit timeout = {}) const;

  /// Replaces the handling of errors that no code waits for (default: a report on stderr); an empty
  /// function restores the default.
  void set_exception_handler(exception_handler handler) const;
  exception_handler get_exception_handler() const;                        ///< empty for the default
  void call_exception_handler(const ExceptionContext& context) const;     ///< calls the handler
  void default_exception_handler(const ExceptionContext& context) const;  ///< logs an error

  /// For a foreign main loop (GLib's, a window toolkit's, a plain poll()) that waits for all
  /// events: the main loop watches fileno() for reading and calls run_ready() when it is readable.
  /// Nothing else is needed, and the main loop's callbacks may bring work (call_soon, create_task,
  /// set_result, ...). Between these calls the loop counts as not running. libuv: uv_backend_fd,
  /// uv_backend_timeout, uv_run(UV_RUN_NOWAIT).
  ///
  /// The descriptor is readable while there is work: ready callbacks, descriptors, deadlines, calls
  /// from other threads. It belongs to the loop until close(); it must not be read. Throws
  /// RuntimeError (closed), OSError, NotImplementedError (a platform without such a descriptor).
  int fileno() const;
  /// Runs one iteration without waiting, and more of them while an entry is ready and `budget` is
  /// not used up. Returns true if an entry is still ready. Throws the exceptions of run_forever.
  bool run_ready(nanoseconds budget = nanoseconds(0)) const;
  bool run_ready(detail::any_duration auto time) const { return run_ready(detail::in_ns(time)); }
  /// Returns the time when run_ready is next due, on the clock of time(): a time that has come if
  /// an entry is ready already, nullopt if only fileno() can tell. For hosts that set a timer of
  /// their own.
  std::optional<nanoseconds> next_deadline() const;
  /// Returns next_deadline() as poll() takes it: milliseconds from now, rounded up; -1: no limit.
  int poll_timeout() const;

  /// Debug mode, off unless the environment variable FIBER_ASYNCIO_DEBUG is set to anything:
  /// reports say where futures, tasks and callbacks were made, and there are reports of callbacks
  /// and steps of tasks that take too long, cancellations that a task has swallowed, futures that
  /// another thread sets, and tasks that suspend with a debug_lock_guard. Every task then returns
  /// to the loop when it suspends, which takes time; off, the mode costs nothing.
  bool get_debug() const;
  void set_debug(bool enabled) const;  ///< see above
  /// A loop that nothing of its own can wake any more (nothing is ready, no deadline is set, no
  /// descriptor watched, no signal handled, no job of an executor outstanding) warns once, with its
  /// tasks and the places where they wait, unless there are other threads, which might call it.
  /// With true it throws RuntimeError with this text, out of run_forever and its like, whatever
  /// other threads there are: for tests, and for programs that call no loop from threads of their
  /// own. Off by default; embedded loops and loops whose tasks wait on signals do not throw.
  bool get_raise_deadlock() const;
  void set_raise_deadlock(bool enabled) const;  ///< see above
  /// The time from which on a callback or step takes too long: 100 ms.
  nanoseconds slow_callback_duration() const;
  void slow_callback_duration(nanoseconds duration) const;
  void slow_callback_duration(detail::any_duration auto duration) const {
    slow_callback_duration(detail::in_ns(duration));
  }

  friend bool operator==(const EventLoop& a, const EventLoop& b) noexcept {
    return a.object_ == b.object_;
  }
  explicit operator bool() const noexcept { return bool(object_); }

  explicit EventLoop(detail::LoopObject* object) noexcept : object_(object) {}
  detail::LoopObject& object() const {
    if (!object_) [[unlikely]]
      refuse_null();
    return *object_;
  }

 private:
  [[noreturn]] static void refuse_null();
  TimerHandle arm(core::Ref<detail::TimerObject> timer, nanoseconds when) const;
  nanoseconds after(std::int64_t delay) const {
    return nanoseconds(detail::deadline_after(time().count(), delay));
  }
  void watch(int fd, bool for_writing, core::Ref<detail::HandleObject> handle) const;
  Handle queue(core::Ref<detail::HandleObject> handle) const {
    object().call_soon(handle);
    return Handle(std::move(handle));
  }
  Handle post(core::Ref<detail::HandleObject> handle) const {
    object().call_soon_threadsafe(handle);
    return Handle(std::move(handle));
  }
  template <template <class> class Kind, class F>
  auto unprepared_handle(F&& callback) const {
    using Object = Kind<std::decay_t<F>>;
    return core::Ref<Object>::adopt(new Object(&object(), std::forward<F>(callback)));
  }
  template <template <class> class Kind, class F, class... Options>
  auto make_handle(F&& callback, const Options&... options) const {
    static_assert(detail::plain_callback<F>, "a callback cannot be a coroutine function");
    auto handle = unprepared_handle<Kind>(std::forward<F>(callback));
    detail::prepare(handle.get(), options...);
    return handle;
  }

  core::Ref<detail::LoopObject> object_;
};

/// Returns the loop that runs in this thread. Throws RuntimeError if there is none.
FIBER_API EventLoop get_running_loop();
/// Returns the running loop; outside of one, the loop that was set for this thread. The main thread
/// makes and sets one at the first call, unless asyncio::run, a Runner or set_event_loop was called
/// before. Throws RuntimeError if there is none.
FIBER_API EventLoop get_event_loop();
FIBER_API void set_event_loop(const EventLoop& loop);  ///< for get_event_loop() of this thread
FIBER_API EventLoop new_event_loop();  ///< makes a loop, which is not set; close() ends it

/// A reference to a future of any type: the common part of tasks and futures.
class FIBER_API FutureRef {
 public:
  FutureRef() noexcept = default;
  explicit FutureRef(detail::FutureBase* future) noexcept : future_(future) {}

  bool done() const { return base().done(); }            ///< true with a result or an exception
  bool cancelled() const { return base().cancelled(); }  ///< true if cancellation has ended it
  /// Asks for cancellation; returns false if the future was done already. The message goes with
  /// CancelledError.
  bool cancel(std::string message = {}) const { return base().cancel(std::move(message)); }
  /// Returns the exception with which it ended, null for a result. Throws InvalidStateError while
  /// pending, CancelledError when cancelled.
  std::exception_ptr exception() const { return base().exception(); }
  EventLoop get_loop() const { return EventLoop(base().loop()); }  ///< to which it belongs
  std::string repr() const { return base().repr(); }  ///< Python's, such as "<Future pending>"

  explicit operator bool() const noexcept { return bool(future_); }
  friend bool operator==(const FutureRef& a, const FutureRef& b) noexcept {
    return a.future_ == b.future_;
  }
  detail::FutureBase& base() const {
    if (!future_) [[unlikely]]
      refuse_null();
    return *future_;
  }
  detail::FutureBase* get() const noexcept { return future_.get(); }

 private:
  [[noreturn]] static void refuse_null();
  core::Ref<detail::FutureBase> future_;
};

/// Returns FutureRef::repr(); "<Future null>" for a null reference.
FIBER_API std::string repr(const FutureRef& future);
FIBER_API std::ostream& operator<<(std::ostream& out, const FutureRef& future);

/// Python: the keys of the context that loop.call_exception_handler takes. Empty members count as
/// missing keys.
struct ExceptionContext {
  std::string message;  ///< what has happened
  std::exception_ptr exception = nullptr;
  FutureRef future = {};              ///< the future whose exception was not read
  FutureRef task = {};                ///< the task that was destroyed, or is pending at the end
  Handle handle = {};                 ///< the handle whose callback has thrown
  GeneratorBase asyncgen = {};        ///< the generator that has thrown while it was closed
  int socket = -1;                    ///< a descriptor
  std::string source_traceback = {};  ///< where the future was made, in debug mode
  std::string handle_traceback = {};  ///< where the running callback was made, in debug mode
};

}  // namespace fiber::asyncio
