// Shared parts of the three downloaders: options, the directory, files written whole or not at all,
// progress, and one line for each error.
#pragma once

#include <fiber/exceptions.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iomanip>
#include <optional>
#include <ranges>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "image_server.hpp"
#include "print.hpp"

struct Image {
  std::string url;
  std::string name;  // of the file
};

class Downloads {
 public:
  // Reads the options; may end the program (--help, or an invalid option).
  Downloads(int argc, char** argv) : program_(std::filesystem::path(argv[0]).filename()) {
    std::vector<std::string> urls;
    for (int i = 1; i < argc; ++i) {
      const std::string_view argument = argv[i];
      const auto value = [&]() -> std::string_view {
        if (++i == argc) wrong_usage(std::string(argument) + " needs a value");
        return argv[i];
      };
      if (argument == "--help" || argument == "-h")
        help();
      else if (argument == "--output")
        directory_ = value();
      else if (argument == "--delay")
        delay_ = seconds(value());
      else if (argument.starts_with('-'))
        wrong_usage("unknown option " + std::string(argument));
      else
        urls.emplace_back(argument);
    }
    add(urls);
  }

  const std::vector<Image>& images() const { return images_; }

  // A downloader calls start for each image, then one of the two others.
  void start(const Image& image) { say("start", image.name); }

  void save(const Image& image, std::string_view content) {
    write(directory_ / image.name, content);
    say("saved", image.name);
    ++finished_;
    show_progress();
  }

  void failed(const Image& image, const std::string& reason) {
    failed_ = true;
    complain(image.url + ": " + reason);
    ++finished_;
    show_progress();
  }

  // Runs `body`, the download of images(), or, without any, of pictures that the program serves
  // itself.
  // Returns the program's exit status.
  template <class Body>
  int run(Body body) {
    try {
      make_directory();
      std::optional<ImageServer> server;
      if (images_.empty()) add(server.emplace(delay_).urls());
      const auto begin = std::chrono::steady_clock::now();
      show_progress();
      body();
      hide_progress();
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
      std::ostringstream text;
      text << std::fixed << std::setprecision(1) << elapsed.count();
      print("elapsed", text.str());
    } catch (const fiber::KeyboardInterrupt&) {
      hide_progress();
      std::signal(SIGINT, SIG_DFL);  // die of it, as Python does
      std::raise(SIGINT);
    } catch (const std::exception& error) {
      failed_ = true;
      complain(error.what());
    }
    return failed_ ? 1 : 0;
  }

 private:
  [[noreturn]] void help() const {
    print("usage:", program_, "[--output DIR] [--delay SECONDS] [URL...]");
    print("Downloads the URLs, or six pictures that it serves itself.");
    print("  --output DIR     where to save them (images)");
    print("  --delay SECONDS  how long its own server takes to answer (1)");
    std::exit(0);
  }
  [[noreturn]] void wrong_usage(const std::string& reason) const {
    std::fprintf(stderr, "%s: %s; see --help\n", program_.c_str(), reason.c_str());
    std::exit(2);
  }

  ImageServer::Seconds seconds(std::string_view text) const {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !(value >= 0 && value <= 1e6))
      wrong_usage("not a number of seconds: " + std::string(text));
    return ImageServer::Seconds(value);
  }

  // Gives each URL a file name of its own: the text after its last slash.
  void add(const std::vector<std::string>& urls) {
    std::set<std::string> taken;
    for (const std::string& url : urls) {
      const std::string path = url.substr(0, url.find_first_of("?#"));
      std::string name = path.substr(path.rfind('/') + 1);
      if (name.empty() || name == "." || name == "..") name = "image";
      const std::filesystem::path parts = name;
      for (int n = 2; !taken.insert(name).second; ++n)
        name = parts.stem().string() + "-" + std::to_string(n) + parts.extension().string();
      images_.push_back({url, name});
    }
  }

  void make_directory() {
    std::error_code error;
    const bool made = std::filesystem::create_directories(directory_, error);
    if (error) throw std::system_error(error, directory_.string() + ": cannot make it");
    // Checks for write access before the first download.
    const auto probe = temporary(directory_ / "probe");
    const int file = ::open(probe.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0)
      throw std::system_error(errno, std::generic_category(),
                              directory_.string() + ": cannot write to it");
    ::close(file);
    ::unlink(probe.c_str());
    print(made ? "directory made" : "directory exists", directory_.string());
  }

  static std::filesystem::path temporary(const std::filesystem::path& path) {
    const std::string name = path.filename().string();
    return path.parent_path() / ("." + name + "." + std::to_string(::getpid()) + ".part");
  }

  // Writes under another name first, so that a file of this name is always complete.
  static void write(const std::filesystem::path& path, std::string_view content) {
    const auto part = temporary(path);
    const int file = ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool good = file >= 0;
    while (good && !content.empty()) {
      const ssize_t n = ::write(file, content.data(), content.size());
      if (n >= 0)
        content.remove_prefix(static_cast<std::size_t>(n));
      else
        good = errno == EINTR;
    }
    int error = good ? 0 : errno;
    if (file >= 0 && ::close(file) != 0 && error == 0) error = errno;
    if (error == 0 && ::rename(part.c_str(), path.c_str()) != 0) error = errno;
    if (error == 0) return;
    if (file >= 0) ::unlink(part.c_str());
    throw std::system_error(error, std::generic_category(), "cannot write " + path.string());
  }

  template <class... Words>
  void say(const Words&... words) {
    hide_progress();
    print(words...);
    show_progress();
  }

  void complain(std::string text) {
    std::ranges::replace(text, '\n', ' ');
    hide_progress();
    std::fprintf(stderr, "%s: %s\n", program_.c_str(), text.c_str());
  }

  void show_progress() const {
    if (!is_terminal_ || images_.empty()) return;
    constexpr std::size_t kWidth = 30;
    const std::size_t filled = kWidth * finished_ / images_.size();
    const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, ' ');
    std::fprintf(stderr, "\r[%s] %zu/%zu ", bar.c_str(), finished_, images_.size());
  }
  void hide_progress() const {
    if (is_terminal_) std::fputs("\r\033[K", stderr);
  }

  std::string program_;
  std::filesystem::path directory_ = "images";
  ImageServer::Seconds delay_{1};
  std::vector<Image> images_;
  std::size_t finished_ = 0;
  bool failed_ = false;
  const bool is_terminal_ = ::isatty(STDERR_FILENO) != 0;
};
