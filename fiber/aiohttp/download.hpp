// Downloads of files by a session. Ours: Python has no such function.
//
//   const auto result = await(aiohttp::download(session, "https://example.com/big.iso",
//                                               {.directory = "images", .progress = show}));
//
// The bytes go to `.NAME.part`, which is renamed when it is complete. A part that a run has left,
// because its process ended or all attempts failed, is continued by the next run (Range), unless
// the entity tag or the date of the server's file has changed (If-Range).
#pragma once

#include <fiber/aiohttp.hpp>
#include <fiber/http/download.hpp>

#include <string>

namespace fiber::aiohttp {

using DownloadOptions = http::DownloadOptions;    ///< see <fiber/http/download.hpp>
using DownloadProgress = http::DownloadProgress;  ///< see <fiber/http/download.hpp>
using DownloadResult = http::DownloadResult;      ///< see <fiber/http/download.hpp>
using http::file_name_of;

/// Downloads a file by GET. `request`: as for session.get(); the default timeout limits silence to
/// a minute, and not the whole. Uses the disk on threads of the loop's executor, and less than a
/// MiB of memory. Awaiting it throws like session.get() and reading a body; ClientResponseError for
/// a status without a file, ClientPayloadError for parts that do not fit together and beyond
/// max_size, ValueError for a name that is a path, OSErrors of the disk, and BlockingIOError while
/// another download to that name runs in any process.
FIBER_API asyncio::Coroutine<DownloadResult> download(ClientSession& session, std::string url,
                                                      DownloadOptions options = {},
                                                      RequestOptions request = {});

}  // namespace fiber::aiohttp
