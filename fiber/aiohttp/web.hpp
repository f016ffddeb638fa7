// A server for HTTP, with the interface of Python's aiohttp.web: applications, routes, requests,
// responses, files, WebSockets. Built on asyncio's streams; every connection is served by a task of
// its own, and a handler is an ordinary function, which may wait at any depth of calls.
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
// Threads: an application, its runner, its requests and their parts belong to one loop and its
// thread. Several threads may each run an application of their own, at one port with reuse_port.
//
// WEB.md, beside this file, lists all limits, and the names of aiohttp.web that are missing.
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
