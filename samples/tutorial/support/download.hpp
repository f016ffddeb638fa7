// Shared parts of the three downloaders: options, the directory, names, progress, and one line for
// each error.
#pragma once

#include <fiber/exceptions.hpp>
#include <fiber/http/download.hpp>

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
#include <map>
#include <mutex>
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
  // Reads the options; may end the program (--help, or an option that makes no sense).
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

  // A downloader calls start for each image, downloads with options(), then calls one of the other
  // two. A download that breaks off goes on where it was, in the next run too.
  void start(const Image& image) {
    const std::lock_guard lock(mutex_);
    say("start", image.name);
  }

  // In any thread.
  fiber::http::DownloadOptions options(const Image& image) {
    return {.directory = directory_.string(),
            .name = image.name,
            .max_retries = 1,
            .progress = [this, name = image.name](const fiber::http::DownloadProgress& now) {
              const std::lock_guard lock(mutex_);
              rates_[name] = now.rate;
              show_progress();
            }};
  }

  void saved(const Image& image) {
    const std::lock_guard lock(mutex_);
    rates_.erase(image.name);
    say("saved", image.name);
    ++finished_;
    show_progress();
  }

  void failed(const Image& image, const std::string& reason) {
    const std::lock_guard lock(mutex_);
    rates_.erase(image.name);
    failed_ = true;
    complain(image.url + ": " + reason);
    ++finished_;
    show_progress();
  }

  // Runs `body`, the download of images(); without any, of pictures that the program serves itself.
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

  // Gives each URL a file name of its own: what follows its last slash, as far as it may stay.
  void add(const std::vector<std::string>& urls) {
    std::set<std::string> taken;
    for (const std::string& url : urls) {
      std::string name = fiber::http::file_name_of(url);
      if (name == "download") name = "image";
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
    // Better to know before the first download.
    std::string probe = directory_ / ".probe-XXXXXX";
    const int file = ::mkstemp(probe.data());
    if (file < 0)
      throw std::system_error(errno, std::generic_category(),
                              directory_.string() + ": cannot write to it");
    ::close(file);
    ::unlink(probe.c_str());
    print(made ? "directory made" : "directory exists", directory_.string());
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
    double rate = 0;
    for (const auto& [name, its_rate] : rates_) rate += its_rate;
    constexpr double kMega = 1e6;
    std::fprintf(stderr, "\r[%s] %zu/%zu %.1f MB/s ", bar.c_str(), finished_, images_.size(),
                 rate / kMega);
  }
  void hide_progress() const {
    if (is_terminal_) std::fputs("\r\033[K", stderr);
  }

  std::string program_;
  std::filesystem::path directory_ = "images";
  ImageServer::Seconds delay_{1};
  std::vector<Image> images_;
  std::mutex mutex_;                     // for the members below and the line that is shown
  std::map<std::string, double> rates_;  // bytes a second, of downloads that go on
  std::size_t finished_ = 0;
  bool failed_ = false;
  const bool is_terminal_ = ::isatty(STDERR_FILENO) != 0;
};
