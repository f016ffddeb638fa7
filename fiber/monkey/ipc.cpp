// Message queues of POSIX, which are descriptors, and the message queues and semaphores of
// System V, whose readiness cannot be watched: calls are tried again, after 25 ms at most.
#include <fiber/monkey/hooks.hpp>
#include <fiber/monkey/memory.hpp>
#include <fiber/monkey/real.hpp>
#include <fiber/monkey/transfer.hpp>

#include <algorithm>

namespace fiber::monkey::detail {
namespace {

// Repeats `attempt(past)`, which fails with ETIMEDOUT if it would have to wait. `until`: null, or a
// time of day.
template <class F>
auto when_queue_is_ready(const Call& call, mqd_t queue, Direction direction, const timespec* until,
                         F attempt) noexcept {
  const std::int64_t deadline =
      until != nullptr ? call.deadline_at(CLOCK_REALTIME, *until) : kNever;
  const timespec past{};
  for (;;) {
    const auto result = attempt(&past);
    if (result >= 0) return call.done(result);
    if (errno == EINTR) continue;
    if (errno != ETIMEDOUT) return result;
    switch (call.wait(queue, direction == Direction::reading ? EPOLLIN : EPOLLOUT, deadline)) {
      case Wake::timed_out: errno = ETIMEDOUT; return result;
      case Wake::failed: return result;
      default: break;
    }
  }
}

// Makes a call that waits until `until` at most.
template <class Operation>
auto timed(mqd_t queue, Direction direction, const timespec* until, const Operation& operation) {
  const Call call;
  if (!call || !is_usable(until) || (until != nullptr && !is_valid(*until)))
    return operation(until);
  return when_queue_is_ready(call, queue, direction, until, operation);
}

ssize_t mq_timedreceive_(mqd_t queue, char* text, std::size_t size, unsigned* priority,
                         const timespec* until) noexcept {
  return timed(queue, Direction::reading, until, [=](const timespec* limit) {
    return real().mq_timedreceive(queue, text, size, priority, limit);
  });
}

ssize_t mq_receive_(mqd_t queue, char* text, std::size_t size, unsigned* priority) noexcept {
  return mq_timedreceive_(queue, text, size, priority, nullptr);
}

int mq_timedsend_(mqd_t queue, const char* text, std::size_t size, unsigned priority,
                  const timespec* until) noexcept {
  return timed(queue, Direction::writing, until, [=](const timespec* limit) {
    return real().mq_timedsend(queue, text, size, priority, limit);
  });
}

int mq_send_(mqd_t queue, const char* text, std::size_t size, unsigned priority) noexcept {
  return mq_timedsend_(queue, text, size, priority, nullptr);
}

// Repeats `attempt`, which fails with `busy` if it would have to wait. An EINVAL after a wait
// becomes EIDRM: the queue or set existed when the wait began, so it has been removed.
template <class F>
auto again_and_again(const Call& call, int busy, std::int64_t deadline, F attempt) noexcept {
  Backoff backoff;
  bool waited = false;
  for (;;) {
    const auto result = attempt();
    if (result >= 0) return call.done(result);
    if (errno == EINTR) continue;
    if (waited && errno == EINVAL) errno = EIDRM;
    if (errno != busy || !backoff.pause(call, deadline, false)) return result;
    waited = true;
  }
}

ssize_t msgrcv_(int queue, void* message, std::size_t size, long type, int flags) noexcept {
  const Call call;
  // MSG_COPY is only allowed with IPC_NOWAIT.
  if (!call || (flags & (IPC_NOWAIT | MSG_COPY)) != 0)
    return real().msgrcv(queue, message, size, type, flags);
  return again_and_again(call, ENOMSG, kNever, [=] {
    return real().msgrcv(queue, message, size, type, flags | IPC_NOWAIT);
  });
}

int msgsnd_(int queue, const void* message, std::size_t size, int flags) noexcept {
  const Call call;
  if (!call || (flags & IPC_NOWAIT) != 0) return real().msgsnd(queue, message, size, flags);
  return again_and_again(call, EAGAIN, kNever,
                         [=] { return real().msgsnd(queue, message, size, flags | IPC_NOWAIT); });
}

// Whether the kernel waits: with IPC_NOWAIT in one operation it does not wait for any of them.
bool may_wait(const sembuf* operations, std::size_t count) noexcept {
  constexpr std::size_t kMost = 1U << 16U;  // the kernel takes far fewer
  return count <= kMost && is_readable(operations, count * sizeof *operations) &&
         std::none_of(operations, operations + count,
                      [](const sembuf& each) { return (each.sem_flg & IPC_NOWAIT) != 0; });
}

int semtimedop_(int set, sembuf* operations, std::size_t count, const timespec* timeout) noexcept {
  const Call call;
  if (!call || !is_usable(timeout) || (timeout != nullptr && !is_valid(*timeout)) ||
      !may_wait(operations, count))
    return real().semtimedop(set, operations, count, timeout);
  const std::int64_t deadline =
      timeout != nullptr ? call.deadline_after(nanoseconds(*timeout)) : kNever;
  return again_and_again(call, EAGAIN, deadline, [=] {
    const timespec none{};
    return real().semtimedop(set, operations, count, &none);
  });
}

int semop_(int set, sembuf* operations, std::size_t count) noexcept {
  return semtimedop_(set, operations, count, nullptr);
}

}  // namespace

std::span<const Hook> ipc_hooks() noexcept {
  static const Hook hooks[] = {
      hook<mq_receive_>("mq_receive"), hook<mq_timedreceive_>("mq_timedreceive"),
      hook<mq_send_>("mq_send"),       hook<mq_timedsend_>("mq_timedsend"),
      hook<msgrcv_>("msgrcv"),         hook<msgsnd_>("msgsnd"),
      hook<semop_>("semop"),           hook<semtimedop_>("semtimedop"),
  };
  return hooks;
}

}  // namespace fiber::monkey::detail
