// Relays that tests put between client and server: one that is slow, one that never answers, one
// that breaks off. Each is a child process that ends with the test.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <system_error>

namespace legacy_test {

inline sockaddr_in local_address(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<in_port_t>(port));
  return address;
}

inline int connected_to(int port, int type) {
  const int fd = ::socket(AF_INET, type, 0);
  const sockaddr_in address = local_address(port);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  ::close(fd);
  return -1;
}

// `serve(fd)` runs in a child process, with a socket that is bound to a port of 127.0.0.1, and
// listens if it is one of streams.
class Relay {
 public:
  Relay(int type, const std::function<void(int)>& serve) {
    const int fd = ::socket(AF_INET, type | SOCK_CLOEXEC, 0);
    sockaddr_in address = local_address(0);
    socklen_t size = sizeof address;
    if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
        (type == SOCK_STREAM && ::listen(fd, 512) != 0))
      throw std::system_error(errno, std::generic_category(), "no relay");
    port_ = ntohs(address.sin_port);
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid_ != 0) {
      ::close(fd);
      return;
    }
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(0);
    ::signal(SIGCHLD, SIG_IGN);
    ::signal(SIGPIPE, SIG_IGN);
    serve(fd);
    ::_exit(0);
  }
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;
  ~Relay() {
    ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  int port() const { return port_; }

 private:
  pid_t pid_ = -1;
  int port_ = 0;
};

// Runs `body` in a child process, for each connection or datagram.
template <class F>
void in_child(F body) {
  if (::fork() != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  body();
  ::_exit(0);
}

inline void copy_both_ways(int a, int b) {
  pollfd ends[] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
  while (::poll(ends, 2, -1) > 0)
    for (int i = 0; i < 2; ++i) {
      if (ends[i].revents == 0) continue;
      char text[16384];
      const ssize_t size = ::read(ends[i].fd, text, sizeof text);
      if (size <= 0) return;
      for (ssize_t sent = 0; sent < size;) {
        const ssize_t part =
            ::write(ends[1 - i].fd, text + sent, static_cast<std::size_t>(size - sent));
        if (part <= 0) return;
        sent += part;
      }
    }
}

inline constexpr useconds_t kDelay = 300'000;

// Connects each client with `port` some time later.
inline void delay_streams(int listener, int port) {
  for (;;) {
    const int client = ::accept(listener, nullptr, nullptr);
    if (client < 0) continue;
    in_child([=] {
      ::usleep(kDelay);
      const int server = connected_to(port, SOCK_STREAM);
      if (server >= 0) copy_both_ways(client, server);
    });
    ::close(client);
  }
}

// Sends each datagram on to `port` some time later, and the one answer back.
inline void delay_datagrams(int fd, int port) {
  for (;;) {
    char text[16384];
    sockaddr_in client{};
    socklen_t length = sizeof client;
    const ssize_t size =
        ::recvfrom(fd, text, sizeof text, 0, reinterpret_cast<sockaddr*>(&client), &length);
    if (size < 0) continue;
    in_child([&] {
      ::usleep(kDelay);
      const int server = connected_to(port, SOCK_DGRAM);
      if (server < 0 || ::send(server, text, static_cast<std::size_t>(size), 0) != size) return;
      const ssize_t answer = ::recv(server, text, sizeof text, 0);
      if (answer > 0)
        ::sendto(fd, text, static_cast<std::size_t>(answer), 0,
                 reinterpret_cast<const sockaddr*>(&client), length);
    });
  }
}

inline void never_answer(int) {
  for (;;) ::pause();
}

inline void break_off(int listener) {
  for (;;) {
    const int client = ::accept(listener, nullptr, nullptr);
    if (client < 0) continue;
    const linger at_once{1, 0};  // a reset, not an end
    ::setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ::usleep(20'000);
    ::close(client);
  }
}

}  // namespace legacy_test
