// An image server inside the program: a thread and a loop of its own, six pictures, each answered
// after a delay.
#pragma once

#include <fiber/asyncio.hpp>
#include <fiber/asyncio/streams.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

// A bitmap (BMP, 24 bits per pixel) of 256 x 192 pixels: another gradient for each number.
inline std::string picture(int number) {
  constexpr std::uint32_t kWidth = 256, kHeight = 192, kHead = 54, kSize = kWidth * kHeight * 3;
  std::string bytes = "BM";
  const auto append = [&](std::uint32_t value, int size) {  // little-endian
    for (int i = 0; i < size; ++i) bytes += static_cast<char>(value >> (8 * i));
  };
  // Size of the file, reserved, where the pixels begin; size of this header, the picture's.
  for (std::uint32_t value : {kHead + kSize, 0u, kHead, 40u, kWidth, kHeight}) append(value, 4);
  append(1, 2);   // planes
  append(24, 2);  // bits per pixel
  // No compression, size of the pixels, pixels per metre across and down, no palette.
  for (std::uint32_t value : {0u, kSize, 2835u, 2835u, 0u, 0u}) append(value, 4);

  constexpr std::array<std::array<std::uint32_t, 3>, 6> kTints{
      {{255, 96, 0}, {0, 192, 96}, {0, 96, 255}, {192, 192, 0}, {192, 0, 192}, {0, 192, 192}}};
  const auto& [red, green, blue] = kTints[static_cast<std::size_t>(number - 1) % kTints.size()];
  for (std::uint32_t y = 0; y < kHeight; ++y) {
    for (std::uint32_t x = 0; x < kWidth; ++x) {
      append(blue * x / kWidth, 1);
      append(green * (x + y) / (kWidth + kHeight), 1);
      append(red * y / kHeight, 1);
    }
  }
  return bytes;
}

class ImageServer {
 public:
  using Seconds = std::chrono::duration<double>;

  // Listens once constructed, on a port that the system chooses.
  explicit ImageServer(Seconds delay) : delay_(delay) {
    std::promise<int> listening;
    auto port = listening.get_future();
    thread_ = std::thread([this, listening = std::move(listening)]() mutable { serve(listening); });
    try {
      port_ = port.get();
    } catch (...) {
      thread_.join();
      throw;
    }
  }
  ImageServer(const ImageServer&) = delete;
  ImageServer& operator=(const ImageServer&) = delete;
  ~ImageServer() {
    loop_.call_soon_threadsafe(stop_);
    thread_.join();
  }

  std::vector<std::string> urls() const {
    std::vector<std::string> all;
    for (int number = 1; number <= kPictures; ++number)
      all.push_back("http://127.0.0.1:" + std::to_string(port_) + path(number));
    return all;
  }

 private:
  static constexpr int kPictures = 6;
  static std::string path(int number) {
    std::string path = "/";
    path += std::to_string(number);
    path += ".bmp";
    return path;
  }

  // The function of the thread. Announces the port, or the error.
  void serve(std::promise<int>& listening) {
    using namespace fiber;
    using asyncio::await;
    asyncio::run([&] {
      loop_ = asyncio::get_running_loop();
      auto stopped = loop_.create_future();
      stop_ = [&stopped] { stopped.set_result(); };
      asyncio::Server server;
      try {
        server = await(asyncio::start_server(
            [this](auto& reader, auto& writer) {
              try {
                answer(reader, writer);
              } catch (const std::exception&) {
                // The client has gone.
              }
            },
            "127.0.0.1", 0));
        listening.set_value(server.sockets().at(0).port());
      } catch (...) {
        listening.set_exception(std::current_exception());
        return;
      }
      await(stopped);
      server.close();
    });
  }

  // One connection: reads a request, "GET /1.bmp HTTP/1.1...", waits, answers, closes.
  void answer(fiber::asyncio::StreamReader& reader, fiber::asyncio::StreamWriter& writer) const {
    using namespace fiber;
    using asyncio::await;
    const std::string request = await(reader.readuntil("\r\n\r\n"));
    await(asyncio::sleep(delay_));

    const auto begin = request.find(' ') + 1;
    const std::string wanted = request.substr(begin, request.find(' ', begin) - begin);
    std::string status = "404 Not Found", body;
    for (int number = 1; number <= kPictures; ++number) {
      if (wanted != path(number)) continue;
      status = "200 OK";
      body = picture(number);
    }
    writer.write("HTTP/1.1 " + status + "\r\nContent-Type: image/bmp\r\nContent-Length: " +
                 std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body);
    writer.close();
    await(writer.wait_closed());
  }

  Seconds delay_;
  int port_ = 0;
  fiber::asyncio::EventLoop loop_;
  std::function<void()> stop_;
  std::thread thread_;
};
