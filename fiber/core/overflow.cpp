#include <fiber/core/overflow.hpp>

#include <fiber/core/copies.hpp>
#include <fiber/platform/thread.hpp>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstring>

#include <sys/mman.h>
#include <unistd.h>

namespace fiber::core {

constinit thread_local PartFinder tls_part_on = nullptr;

namespace {

struct sigaction previous_segv;
struct sigaction previous_bus;

// Only async-signal-safe calls from here on.
class Message {
 public:
  Message& operator<<(const char* text) noexcept {
    while (*text != '\0' && length_ < sizeof(text_)) text_[length_++] = *text++;
    return *this;
  }
  Message& operator<<(std::size_t number) noexcept {
    const auto end = std::to_chars(text_ + length_, text_ + sizeof(text_), number);
    if (end.ec == std::errc()) length_ = static_cast<std::size_t>(end.ptr - text_);
    return *this;
  }
  // Appends a text of the program's, cut to leave room for what follows.
  void name(const char* text) noexcept {
    constexpr std::size_t kMost = 200;
    const std::size_t length = ::strnlen(text, kMost + 1);
    for (std::size_t i = 0; i < std::min(length, kMost) && length_ < sizeof(text_); ++i)
      text_[length_++] = text[i];
    if (length > kMost) *this << "...";
  }
  void write() const noexcept { (void)!::write(STDERR_FILENO, text_, length_); }

 private:
  char text_[768];
  std::size_t length_ = 0;
};

enum class Overflow { none, probable, certain };

// Judges whether a fault is an overflow of `stack`. A frame that is wider than the guard may touch
// other forbidden memory: in that case the stack pointer has left the stack, or the address lies a
// little below it.
Overflow judge(const Stack& stack, const void* address, const void* context) noexcept {
  if (stack.guards(address)) return Overflow::certain;
  constexpr std::uintptr_t kWidestFrame = std::uintptr_t{1} << 30, kNear = std::uintptr_t{16} << 20;
  const auto lowest = reinterpret_cast<std::uintptr_t>(stack.base);
  const auto below = [lowest](std::uintptr_t at, std::uintptr_t most) {
    return at < lowest && lowest - at <= most;
  };
  const std::uintptr_t pointer = platform::interrupted(context).stack_pointer;
  const bool left = pointer != 0 && below(pointer, kWidestFrame);
  return left || below(reinterpret_cast<std::uintptr_t>(address), kNear) ? Overflow::probable
                                                                         : Overflow::none;
}

void report(const ThreadState& thread, Overflow overflow) noexcept {
  const Part part = tls_part_on != nullptr ? tls_part_on(thread.stack) : Part();
  const char* name = part.kind != nullptr ? part.name : nullptr;
  for (std::size_t slot = kMostLayers; slot-- > 0 && name == nullptr;)
    if (const ThreadLayer* layer = thread.layers[slot]) name = layer->running_name();
  Message message;
  message << (overflow == Overflow::certain ? "fiber: stack overflow in "
                                            : "fiber: probably a stack overflow in ");
  if (name != nullptr && *name != '\0') {
    if (part.kind != nullptr) message << part.kind << " ";
    message << "'";
    message.name(name);
    message << "'";
  } else {
    message << "an unnamed " << (part.kind != nullptr ? part.kind : "fiber");
  }
  message << ": its stack of " << thread.stack->size / 1024 << " KiB is used up";
  if (overflow == Overflow::certain)
    message << "; give it a larger one with the option stack_size, or all with "
               "fiber::stacks::default_size()\n";
  else
    message << " by a frame wider than the guard of " << thread.stack->guard_size() / 1024
            << " KiB; give it a larger one with the option stack_size, and a wider guard with "
               "guard_size, or compile with -fstack-clash-protection\n";
  message.write();
}

[[maybe_unused]] void on_fault(int signal, siginfo_t* info, void* context) {
  const ThreadState* thread = tls_thread_state;
  // A signal that a process sent has no address.
  const Stack* stack = thread != nullptr ? thread->stack : nullptr;
  if (stack != nullptr && stack != &thread->own_stack && info->si_code > 0) {
    const Overflow overflow = judge(*stack, info->si_addr, context);
    if (overflow != Overflow::none) report(*thread, overflow);
  }
  const struct sigaction& previous = signal == SIGSEGV ? previous_segv : previous_bus;
  if (previous.sa_flags & SA_SIGINFO) {
    previous.sa_sigaction(signal, info, context);
  } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal);
  } else {
    // The faulting instruction runs again and meets the default action: core dump included.
    struct sigaction standard {};
    standard.sa_handler = SIG_DFL;
    ::sigaction(signal, &standard, nullptr);
    if (info->si_code <= 0) ::raise(signal);  // sent by a process: no instruction runs again
  }
}

void install_handlers() noexcept {
#if !defined(FIBER_ASAN) && !defined(FIBER_TSAN)  // sanitizers report faults themselves
  struct sigaction ours {};
  ours.sa_sigaction = on_fault;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&ours.sa_mask);
  ::sigaction(SIGSEGV, &ours, &previous_segv);
  ::sigaction(SIGBUS, &ours, &previous_bus);
#endif
}

// Keeps the handlers installed while the library is in the process: a plugin that contains it may
// be unloaded.
struct Handlers {
  Handlers() noexcept { install_handlers(); }
  Handlers(const Handlers&) = delete;
  Handlers& operator=(const Handlers&) = delete;
  ~Handlers() {
    restore(SIGSEGV, previous_segv);
    restore(SIGBUS, previous_bus);
  }
  // Restores the previous handler, unless another handler came after ours.
  static void restore(int signal, const struct sigaction& previous) noexcept {
    struct sigaction current {};
    if (::sigaction(signal, nullptr, &current) == 0 && (current.sa_flags & SA_SIGINFO) != 0 &&
        current.sa_sigaction == on_fault)
      ::sigaction(signal, &previous, nullptr);
  }
};

}  // namespace

OverflowGuard::OverflowGuard(ThreadState& thread) noexcept {
  static const Handlers handlers;
  stack_t current{};
  if (::sigaltstack(nullptr, &current) != 0 || !(current.ss_flags & SS_DISABLE)) {
    enter_copies(thread);
    return;
  }
  // The system tells how much a signal frame takes: wide vector registers are saved there, too.
#ifdef _SC_MINSIGSTKSZ
  const auto minimum = static_cast<std::size_t>(std::max(0L, ::sysconf(_SC_MINSIGSTKSZ)));
#else
  const std::size_t minimum = MINSIGSTKSZ;
#endif
  const std::size_t page = page_size();
  const std::size_t size = (minimum + kCopiesSize + 32 * 1024 + page - 1) / page * page;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return;  // an overflow will end the process without a message
  stack_t ours{};
  ours.ss_sp = memory;
  ours.ss_size = size;
  if (::sigaltstack(&ours, nullptr) != 0) {
    ::munmap(memory, size);
    return;
  }
  memory_ = memory;
  size_ = size;
  begin_copies(memory, thread);
}

OverflowGuard::~OverflowGuard() {
  if (memory_ == nullptr) {
    leave_copies();
    return;
  }
  stack_t current{};
  if (::sigaltstack(nullptr, &current) == 0 && current.ss_sp == memory_) {
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    ::sigaltstack(&none, nullptr);
  }
  ::munmap(memory_, size_);
}

}  // namespace fiber::core
