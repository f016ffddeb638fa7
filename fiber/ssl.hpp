// TLS with the names of Python's ssl module: contexts, connections without sockets, and secure
// connections by the argument `.ssl` of asyncio's streams and servers. Needs the library
// fiber-ssl.
//
//   auto context = ssl::create_default_context();
//   auto [reader, writer] = await(asyncio::open_connection("example.org", 443, {.ssl = context}));
//   std::string version = *writer.get_extra_info(ssl::ssl_object)->version();
#pragma once

#include <fiber/ssl/bio.hpp>
#include <fiber/ssl/certificate.hpp>
#include <fiber/ssl/constants.hpp>
#include <fiber/ssl/context.hpp>
#include <fiber/ssl/exceptions.hpp>
#include <fiber/ssl/extra_info.hpp>
#include <fiber/ssl/object.hpp>
