// The worker's side of a ProcessPoolExecutor, and the parts that both sides share.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <string>

#include <csignal>
#include <sys/types.h>

namespace fiber::concurrent::futures::detail {

/// The descriptors of all pools of this process, which no worker may keep. The mutex is held from
/// before a worker's socket is made until the worker has been forked.
struct OpenDescriptors {
  std::recursive_mutex mutex;
  std::set<int> all;
};
OpenDescriptors& open_descriptors();

/// An owned descriptor, registered in OpenDescriptors; -1 for none.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1);
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

/// The message that goes through a worker's socket, in both directions.
struct Message {
  enum Kind : std::uint64_t { CALL, RESULT, ERROR };
  Kind kind = CALL;
  std::string body = {};
};

/// The next two send and receive a message. They return false when the other end is gone.
bool send(int socket, Message::Kind kind, const std::string& body);
bool receive(int socket, Message& message);

/// Flushes the standard streams, but not all files: the parent flushes those that it had begun to
/// write.
void flush_output();

/// Lives the whole life of a worker, in the child: answers calls until the socket ends.
[[noreturn]] void run_worker(int socket, pid_t parent, const sigset_t& signals,
                             const std::function<void()>& initializer) noexcept;

}  // namespace fiber::concurrent::futures::detail
