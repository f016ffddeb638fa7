// A message with room for one descriptor beside its bytes, to send or to receive.
#pragma once

#include <cstddef>
#include <cstring>

#include <sys/socket.h>
#include <sys/uio.h>

namespace support {

class Passing {
 public:
  Passing(void* bytes, std::size_t size) : part_{bytes, size} {
    message.msg_iov = &part_;
    message.msg_iovlen = 1;
    message.msg_control = control_;
    message.msg_controllen = sizeof control_;
  }
  Passing(const Passing&) = delete;
  Passing& operator=(const Passing&) = delete;

  // Sends the descriptor with the bytes.
  void pass(int fd) {
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  // Returns the descriptor that has come with the bytes, which is the caller's; -1 for none.
  int passed() const {
    int fd = -1;
    if (const cmsghdr* header = CMSG_FIRSTHDR(&message))
      std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
  }
  // Whether the message still names the bytes that it was made with.
  bool is_intact() const { return message.msg_iov == &part_; }

  msghdr message{};

 private:
  iovec part_;
  alignas(cmsghdr) char control_[CMSG_SPACE(sizeof(int))] = {};
};

}  // namespace support
