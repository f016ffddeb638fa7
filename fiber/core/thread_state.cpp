#include <fiber/core/thread_state.hpp>

#include <fiber/core/copies.hpp>
#include <fiber/core/debugger.hpp>
#include <fiber/core/overflow.hpp>
#include <fiber/core/sanitizer.hpp>
#include <fiber/core/usual_stack.hpp>
#include <fiber/cxxabi.hpp>
#include <fiber/demangle.hpp>
#include <fiber/exceptions.hpp>

#include <cerrno>
#include <memory>

namespace fiber::core {

constinit thread_local ThreadState* tls_thread_state FIBER_TLS_MODEL = nullptr;
constinit thread_local Nesting tls_nesting FIBER_TLS_MODEL{};

namespace {

constinit thread_local bool tls_exiting = false;

// Ends the thread's state when the thread ends; its constructor registers the destructor.
struct ThreadExit {
  std::unique_ptr<ThreadState> state = std::make_unique<ThreadState>();
  OverflowGuard overflow_guard{*state};

  ~ThreadExit() {
    if (tls_thread_state == nullptr) return;  // making the state has failed
    for (std::size_t slot = kMostLayers; slot-- > 0;)
      if (ThreadLayer* layer = state->layers[slot]) layer->thread_exits();
    hide_from_debuggers(*state);
    tls_exiting = true;
    tls_thread_state = nullptr;
  }
};

}  // namespace

ThreadState& make_thread_state() {
  if (tls_exiting)
    throw RuntimeError("fibers were used on a thread that has already ended its fibers");
  static thread_local ThreadExit thread_exit;
  BlockPool::prepare_fork();
  demangle_with_room(call_with_room);
  ThreadState* state = thread_exit.state.get();
  state->exceptions = static_cast<CxxExceptionState*>(detail::exception_globals());
  state->error_number = &errno;
  state->stack = &state->own_stack;
  state->pool.default_shape(usual_stack_shape());
  sanitizer::thread_started(&state->own_stack);
  show_to_debuggers(*state);  // the last step that may throw
  tls_thread_state = state;
  look_for_copies();
  return *state;
}

bool thread_is_exiting() noexcept { return tls_exiting; }

}  // namespace fiber::core
