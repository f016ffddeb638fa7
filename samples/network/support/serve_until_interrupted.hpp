// Serving until Ctrl-C, and no longer.
#pragma once

#include <fiber/asyncio.hpp>

// Ctrl-C cancels this task, and asyncio::run() then ends the tasks of the connections.
// Server::serve_forever() would wait until the last client has left, as CPython 3.13.0 does.
inline void serve_until_interrupted(const fiber::asyncio::Server& server) {
  const auto never = fiber::asyncio::get_running_loop().create_future();
  try {
    fiber::asyncio::await(never);
  } catch (const fiber::asyncio::CancelledError&) {
    server.close();
    server.close_clients();
    throw;
  }
}
