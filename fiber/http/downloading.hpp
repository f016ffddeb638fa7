// How a file is fetched, whichever client asks for it: ranges, what is left of an earlier run, other
// tries.
#pragma once

#include <fiber/http/download.hpp>
#include <fiber/http/failure.hpp>
#include <fiber/http/headers.hpp>
#include <fiber/http/part_file.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace fiber::http {

// What a client does for download(); all of it may wait.
class DownloadClient {
 public:
  struct Answer {
    int status = 0;
    Headers headers = {};
  };
  virtual ~DownloadClient() = default;
  // Sends GET with these fields beside the others.
  virtual Answer open(const Headers& fields) = 0;
  // The next piece of the body, decoded; "" at its end.
  virtual std::string next() = 0;
  // Gives up what is left of the answer.
  virtual void close() noexcept = 0;
  // Throws the client's exception for the status of the answer.
  [[noreturn]] virtual void refuse_status() = 0;
  // Throws the client's exception for a Failure.
  [[noreturn]] virtual void refuse(Failure failure) = 0;
  // Whether the exception that is being handled is one that another try may mend.
  virtual bool may_be_mended() noexcept = 0;
  virtual void pause(Seconds time) = 0;
  // Runs what the disk may keep waiting.
  virtual void on_disk(std::function<void()> step) = 0;
};

// "bytes 5-9/10", "bytes 5-9/*", "bytes */10".
struct ContentRange {
  std::optional<std::uint64_t> first = {}, last = {};  // both, or neither
  std::optional<std::uint64_t> total = {};
};
// Nothing for what is no such range, or contradicts itself.
std::optional<ContentRange> parse_content_range(std::string_view field);

// What is to be said in If-Range: a strong entity tag, or a date that is older than the answer. "":
// there is nothing to tell one version of the file from another.
std::string validator_of(const Headers& headers);

// Fetches `url` by `client`.
DownloadResult fetch_file(DownloadClient& client, const std::string& url,
                          const DownloadOptions& options);

}  // namespace fiber::http
