// Downloads of files by requests. Ours: Python has no such function.
//
//   requests::Session session;
//   const auto result = requests::download(session, "https://example.com/big.iso",
//                                          {.directory = "images", .progress = show});
//
// The bytes go to `.NAME.part`, which is renamed when it is complete. A part that a run has left,
// because its process ended or all attempts failed, is continued by the next run (Range), unless
// the entity tag or the date of the server's file has changed (If-Range).
#pragma once

#include <fiber/http/download.hpp>
#include <fiber/requests.hpp>

#include <string>

namespace fiber::requests {

using DownloadOptions = http::DownloadOptions;
using DownloadProgress = http::DownloadProgress;
using DownloadResult = http::DownloadResult;
using http::file_name_of;

/// Downloads a file by GET, and blocks the thread meanwhile. `request`: as for session.get(); the
/// default timeout is a minute. Uses less than a MiB of memory. Throws as session.get() and
/// Response::iter_content() do; HTTPError for a status without a file, ChunkedEncodingError for
/// parts that do not fit together, ContentDecodingError beyond max_size, ValueError for a name that
/// is a path, OSErrors of the disk, and BlockingIOError while another download to that name runs in
/// any process.
FIBER_API DownloadResult download(Session& session, const std::string& url,
                                  const DownloadOptions& options = {}, Options request = {});
/// Downloads like the function above, in a session of its own.
FIBER_API DownloadResult download(const std::string& url, const DownloadOptions& options = {},
                                  Options request = {});

}  // namespace fiber::requests
