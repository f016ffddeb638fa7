#include <fiber/concurrent/process_worker.hpp>

#include <fiber/concurrent/process.hpp>
#include <fiber/concurrent/remote_error.hpp>
#include <fiber/platform/own_descriptors.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <iterator>
#include <utility>

#include <pthread.h>
#include <stdio_ext.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace fiber::concurrent::futures::detail {
namespace {

OpenDescriptors*& descriptors_of_this_process() {
  static OpenDescriptors* descriptors = new OpenDescriptors;  // outlives static pools
  return descriptors;
}

bool send_bytes(int socket, const void* bytes, std::size_t size) {
  const char* at = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t sent = ::send(socket, at, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    at += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

bool receive_bytes(int socket, void* bytes, std::size_t size) {
  char* at = static_cast<char*>(bytes);
  while (size > 0) {
    const ssize_t received = ::recv(socket, at, size, 0);
    if (received < 0 && errno == EINTR) continue;
    if (received <= 0) return false;
    at += received;
    size -= static_cast<std::size_t>(received);
  }
  return true;
}

// Resets handlers as exec does, but for the signals of faults, whose handlers write reports.
void reset_signal_handlers() {
  static constexpr int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
  for (int number = 1; number < NSIG; ++number) {
    if (std::find(std::begin(faults), std::end(faults), number) != std::end(faults)) continue;
    struct sigaction action;
    if (sigaction(number, nullptr, &action) != 0 || action.sa_handler == SIG_IGN ||
        action.sa_handler == SIG_DFL)
      continue;
    action = {};
    action.sa_handler = SIG_DFL;
    sigaction(number, &action, nullptr);
  }
}

void serve(int socket) {
  Message call;
  while (receive(socket, call)) {
    Unpack unpack;
    std::memcpy(&unpack, call.body.data(), sizeof unpack);
    Message reply{Message::RESULT, {}};
    try {
      reply.body = unpack(call.body);
    } catch (...) {
      reply = {Message::ERROR, dump_error(std::current_exception())};
    }
    flush_output();
    if (!send(socket, reply.kind, reply.body)) return;
  }
}

}  // namespace

OpenDescriptors& open_descriptors() { return *descriptors_of_this_process(); }

Descriptor::Descriptor(int fd) : fd_(fd) {
  if (fd_ < 0) return;
  try {
    OpenDescriptors& open = open_descriptors();
    const std::lock_guard lock(open.mutex);
    open.all.insert(fd_);
    platform::enter_own(fd_);
  } catch (...) {
    close(fd_);
    throw;
  }
}

Descriptor::Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Descriptor::~Descriptor() {
  if (fd_ < 0) return;
  const std::lock_guard lock(open_descriptors().mutex);
  open_descriptors().all.erase(fd_);
  if (platform::leave_own(fd_)) close(fd_);
}

bool send(int socket, Message::Kind kind, const std::string& body) {
  const std::uint64_t head[] = {kind, body.size()};
  return send_bytes(socket, head, sizeof head) && send_bytes(socket, body.data(), body.size());
}

bool receive(int socket, Message& message) {
  std::uint64_t head[2];
  if (!receive_bytes(socket, head, sizeof head)) return false;
  message.kind = static_cast<Message::Kind>(head[0]);
  message.body.resize(head[1]);
  return receive_bytes(socket, message.body.data(), message.body.size());
}

void flush_output() {
  std::cout.flush();
  std::clog.flush();
  std::fflush(stdout);
}

// Runs a worker. No destructor of objects on the parent's stack and no exit handler may run here.
void run_worker(int socket, pid_t parent, const sigset_t& signals,
                const std::function<void()>& initializer) noexcept {
  // The death signal is tied to the thread that forked, which outlives all workers. Workers that
  // cannot have it see the end of their socket.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(EXIT_FAILURE);
  for (const int fd : open_descriptors().all) close(fd);
  __fpurge(stdout);
  reset_signal_handlers();
  pthread_sigmask(SIG_SETMASK, &signals, nullptr);
  try {
    descriptors_of_this_process() = new OpenDescriptors;  // a job may use a pool, too
    if (initializer) initializer();
  } catch (...) {
    report("Exception in initializer:");
    flush_output();
    _exit(EXIT_FAILURE);
  }
  try {
    serve(socket);
  } catch (...) {
    report("Exception in worker");  // no memory for a call, or its error: breaks the pool
    flush_output();
    _exit(EXIT_FAILURE);
  }
  flush_output();
  _exit(EXIT_SUCCESS);
}

}  // namespace fiber::concurrent::futures::detail
