// A file, fetched by requests. Ours: Python has no such function.
//
//   requests::Session session;
//   const auto result = requests::download(session, "https://example.com/big.iso",
//                                          {.directory = "images", .progress = show});
//
// The bytes go to `.NAME.part`, which gets its name at the end, at once. What a run has left, its
// process having been ended or its tries having failed, the next one goes on with (Range), if the
// server says by an entity tag or a date that the file is still the same (If-Range).
#pragma once

#include <fiber/http/download.hpp>
#include <fiber/requests.hpp>

#include <string>

namespace fiber::requests {

using DownloadOptions = http::DownloadOptions;
using DownloadProgress = http::DownloadProgress;
using DownloadResult = http::DownloadResult;
using http::file_name_of;

/// Fetches a file by GET, and blocks the thread meanwhile. `request`: as for session.get(); unless a
/// timeout is given, it is a minute. Less than a MiB is held in memory. Throws as session.get() and
/// Response::iter_content() do, HTTPError for a status that is none of a file, ChunkedEncodingError
/// for parts that do not fit together, ContentDecodingError for max_size, ValueError for a name that
/// is a path, OSErrors of the disk, and BlockingIOError if a download to that name goes on already,
/// in any process.
FIBER_API DownloadResult download(Session& session, const std::string& url,
                                  const DownloadOptions& options = {}, Options request = {});
/// Downloads like the function above, in a session of its own.
FIBER_API DownloadResult download(const std::string& url, const DownloadOptions& options = {},
                                  Options request = {});

}  // namespace fiber::requests
