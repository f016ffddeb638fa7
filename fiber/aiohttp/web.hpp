// A server for HTTP, as Python's aiohttp.web: applications, routes, requests, responses, files,
// WebSockets. Stands on asyncio's streams; every connection is served by a task of its own, and a
// handler is an ordinary function, which may wait at any depth of calls.
//
//   namespace web = fiber::aiohttp::web;
//
//   int main() {
//     web::Application app;
//     app.router().add_get("/hello/{name}", [](web::Request& request) {
//       return web::Response({.text = "Hello, " + request.match_info()["name"]});
//     });
//     web::run_app(app);
//   }
//
// Threads: an application, its runner and all that belongs to a request belong to one loop and its
// thread. Several threads may each run an application of their own, at one port with reuse_port.
//
// WEB.md, beside this file, says what is bounded by which number, and what of aiohttp.web is not
// here.
#pragma once

#include <fiber/aiohttp/multipart.hpp>
#include <fiber/aiohttp/web_app.hpp>
#include <fiber/aiohttp/web_exceptions.hpp>
#include <fiber/aiohttp/web_request.hpp>
#include <fiber/aiohttp/web_response.hpp>
#include <fiber/aiohttp/web_runner.hpp>
#include <fiber/aiohttp/web_server.hpp>
#include <fiber/aiohttp/web_streams.hpp>
#include <fiber/aiohttp/web_urldispatcher.hpp>
#include <fiber/aiohttp/web_ws.hpp>
