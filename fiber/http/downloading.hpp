// Fetches a file for either client: requests of ranges, the part that an earlier run has left,
// further attempts.
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

// The functions of a client that download() needs; all of them may wait.
class DownloadClient {
 public:
  struct Answer {
    int status = 0;
    Headers headers = {};
  };
  virtual ~DownloadClient() = default;
  // Sends GET with these fields beside the others.
  virtual Answer open(const Headers& fields) = 0;
  // Returns the next piece of the body, decoded; "" at its end.
  virtual std::string next() = 0;
  // Drops the rest of the answer.
  virtual void close() noexcept = 0;
  // Throws the client's exception for the status of the answer.
  [[noreturn]] virtual void refuse_status() = 0;
  // Throws the client's exception for a Failure.
  [[noreturn]] virtual void refuse(Failure failure) = 0;
  // Returns whether another attempt may succeed after the exception that is being handled.
  virtual bool may_be_mended() noexcept = 0;
  virtual void pause(Seconds time) = 0;
  // Runs a step that may wait for the disk.
  virtual void on_disk(std::function<void()> step) = 0;
};

// The field Content-Range: "bytes 5-9/10", "bytes 5-9/*", "bytes */10".
struct ContentRange {
  std::optional<std::uint64_t> first = {}, last = {};  // both, or neither
  std::optional<std::uint64_t> total = {};
};
// Returns nothing for a text that is not such a range, or contradicts itself.
std::optional<ContentRange> parse_content_range(std::string_view field);

// Returns the value for If-Range: a strong entity tag, or a date older than the answer; "" if no
// field tells one version of the file from another.
std::string validator_of(const Headers& headers);

// Downloads `url` through `client`.
DownloadResult fetch_file(DownloadClient& client, const std::string& url,
                          const DownloadOptions& options);

}  // namespace fiber::http
