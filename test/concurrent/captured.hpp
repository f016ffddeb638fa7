// Collects the output of this process and others to a descriptor (1 or 2) while it lives.
#pragma once

#include <cstdio>
#include <iostream>
#include <string>

#include <unistd.h>

class Captured {
 public:
  explicit Captured(int fd) : fd_(fd), file_(std::tmpfile()) {
    flush();
    saved_ = dup(fd_);
    dup2(fileno(file_), fd_);
  }
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;
  ~Captured() {
    restore();
    std::fclose(file_);
  }

  // Ends the collection and returns the text.
  std::string text() {
    restore();
    std::string all;
    std::rewind(file_);
    for (int c = std::fgetc(file_); c != EOF; c = std::fgetc(file_)) all += static_cast<char>(c);
    return all;
  }

 private:
  static void flush() {
    std::cout.flush();
    std::fflush(stdout);
    std::fflush(stderr);
  }
  void restore() {
    if (saved_ < 0) return;
    flush();
    dup2(saved_, fd_);
    close(saved_);
    saved_ = -1;
  }

  int fd_;
  std::FILE* file_;
  int saved_ = -1;
};
