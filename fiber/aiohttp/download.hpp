// A file, fetched by a session. Ours: Python has no such function.
//
//   const auto result = await(aiohttp::download(session, "https://example.com/big.iso",
//                                               {.directory = "images", .progress = show}));
//
// The bytes go to `.NAME.part`, which gets its name at the end, at once. What a run has left, its
// process having been ended or its tries having failed, the next one goes on with (Range), if the
// server says by an entity tag or a date that the file is still the same (If-Range).
#pragma once

#include <fiber/aiohttp.hpp>
#include <fiber/http/download.hpp>

#include <string>

namespace fiber::aiohttp {

using DownloadOptions = http::DownloadOptions;
using DownloadProgress = http::DownloadProgress;
using DownloadResult = http::DownloadResult;
using http::file_name_of;

/// Fetches a file by GET. `request`: as for session.get(); unless a timeout is given, there is none
/// for the whole, and one of a minute for silence. The disk is used on threads of the loop's
/// executor; less than a MiB is held in memory. Awaiting it throws as session.get() and the reading
/// of a body do, ClientResponseError for a status that is none of a file, ClientPayloadError for
/// parts that do not fit together and for max_size, ValueError for a name that is a path, OSErrors
/// of the disk, and BlockingIOError if a download to that name goes on already, in any process.
FIBER_API asyncio::Coroutine<DownloadResult> download(ClientSession& session, std::string url,
                                                      DownloadOptions options = {},
                                                      RequestOptions request = {});

}  // namespace fiber::aiohttp
