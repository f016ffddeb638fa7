// Files that are fetched: arguments and results that both clients have in common. See
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

// How far a download is.
struct DownloadProgress {
  std::uint64_t received = 0;               // bytes that are in the file
  std::optional<std::uint64_t> total = {};  // bytes that it will have, if that is known
  double rate = 0;                          // bytes a second, those of the last seconds above all
  std::uint64_t resumed_at = 0;             // bytes that were there from an earlier run
};

// Keyword arguments of download().
struct DownloadOptions {
  std::string directory = ".";  // exists already
  // Of the file, in that directory; "": file_name_of() the URL.
  std::string name = {};
  // A file of that name is replaced, whole and at once; false: OSError (EEXIST).
  bool overwrite = true;
  // Goes on with what an earlier run has left, if the server's file is still the same.
  bool resume = true;
  // Tries after one that has failed for want of a connection, in the middle, or by 500, 502, 503 or
  // 504; one that has brought 64 KiB begins the count anew. Each goes on where the last one ended.
  int max_retries = 5;
  Seconds retry_delay = std::chrono::milliseconds(500);  // doubled for each in a row, 30 s at most
  double retry_jitter = 0.5;  // a random share of the delay, up to this one, is added to it
  // Bytes that the file may have; nothing for any number. More is as for max_body_size.
  std::optional<std::uint64_t> max_size = {};
  // Called at the beginning, every so often, and at the end. What it throws ends the download; what
  // has come stays for the next run.
  std::function<void(const DownloadProgress&)> progress = {};
  Seconds progress_interval = std::chrono::milliseconds(100);
};

struct DownloadResult {
  std::string path = {};         // of the file
  std::uint64_t size = 0;        // its bytes
  std::uint64_t resumed_at = 0;  // bytes that an earlier run had left
  int requests = 0;              // that were sent, redirects not counted
};

// A name for a file that cannot lead out of its directory, and is not hidden: what follows the last
// slash of the URL's path, decoded; slashes, backslashes, control characters and a dot at the
// beginning become "_", malformed UTF-8 U+FFFD; of more than 200 bytes the middle is replaced by a
// hash of all; "download" if nothing is left.
FIBER_API std::string file_name_of(std::string_view url);

}  // namespace fiber::http
