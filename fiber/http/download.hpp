// Downloads of files: the arguments and results that both clients have in common. See
// <fiber/aiohttp/download.hpp> and <fiber/requests/download.hpp>.
#pragma once

#include <fiber/config.hpp>
#include <fiber/http/arguments.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace fiber::http {

/// The progress of a download.
struct DownloadProgress {
  std::uint64_t received = 0;               ///< bytes in the file so far
  std::optional<std::uint64_t> total = {};  ///< the final size in bytes, if known
  double rate = 0;                          ///< bytes per second; the last seconds count most
  std::uint64_t resumed_at = 0;             ///< bytes that an earlier run had left
};

/// Keyword arguments of download().
struct DownloadOptions {
  std::string directory = ".";  ///< must exist
  std::string name = {};  ///< the name of the file in that directory; "": file_name_of() the URL
  /// Replaces an existing file of that name, atomically; false: throws OSError (EEXIST).
  bool overwrite = true;
  /// Continues the part that an earlier run has left, if the file has not changed on the server.
  bool resume = true;
  /// Further attempts after a failure to connect, a connection that broke, or a status 500, 502,
  /// 503 or 504. Each continues where the last one ended; after 64 KiB the count begins anew.
  int max_retries = 5;
  Seconds retry_delay = std::chrono::milliseconds(500);  ///< doubles with each failure, up to 30 s
  double retry_jitter = 0.5;  ///< adds a random share of the delay, at most this one
  /// The largest size in bytes; nothing: no limit. A larger file fails as for max_body_size.
  std::optional<std::uint64_t> max_size = {};
  /// Called at the beginning, at intervals, and at the end. An exception of it ends the download;
  /// the received part stays for the next run.
  std::function<void(const DownloadProgress&)> progress = {};
  /// The time between two calls of `progress`, at least.
  Seconds progress_interval = std::chrono::milliseconds(100);
};

/// The result of a download.
struct DownloadResult {
  std::string path = {};         ///< of the file
  std::uint64_t size = 0;        ///< in bytes
  std::uint64_t resumed_at = 0;  ///< bytes that an earlier run had left
  int requests = 0;              ///< number of requests sent, not counting redirects
};

/// Returns a name for a file that cannot lead out of its directory, and is not hidden: the part of
/// the URL's path after the last slash, decoded. Slashes, backslashes, control characters and a dot
/// at the beginning become "_", malformed UTF-8 U+FFFD; in a name of more than 200 bytes a hash
/// replaces the middle; "download" if the name would be empty.
FIBER_API std::string file_name_of(std::string_view url);

}  // namespace fiber::http
