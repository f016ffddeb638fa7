// Files that are read and written without stopping the loop, with the names of Python's aiofiles
// and anyio.Path. Needs the library fiber-aiofiles.
//
//   auto file = await(aiofiles::open("notes", "r+"));
//   std::string first = await(file.readline());
//   await(file.close());
//   for (const auto& entry : await(aiofiles::os::scandir("/var/log"))) ...
//   std::string text = await(aiofiles::Path("/etc/hosts").read_text());
#pragma once

#include <fiber/aiofiles/file.hpp>
#include <fiber/aiofiles/os.hpp>
#include <fiber/aiofiles/path.hpp>
