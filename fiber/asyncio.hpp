// All of asyncio: see the headers below for what each part offers. Python: asyncio.
#pragma once

#include <fiber/asyncio/as_completed.hpp>
#include <fiber/asyncio/asyncgens.hpp>
#include <fiber/asyncio/call_graph.hpp>
#include <fiber/asyncio/coroutines.hpp>
#include <fiber/asyncio/debug.hpp>
#include <fiber/asyncio/events.hpp>
#include <fiber/asyncio/exceptions.hpp>
#include <fiber/asyncio/futures.hpp>
#include <fiber/asyncio/locks.hpp>
#include <fiber/asyncio/log.hpp>
#include <fiber/asyncio/queues.hpp>
#include <fiber/asyncio/runners.hpp>
#include <fiber/asyncio/server.hpp>
#include <fiber/asyncio/sock.hpp>
#include <fiber/asyncio/streams.hpp>
#include <fiber/asyncio/subprocess.hpp>
#include <fiber/asyncio/taskgroups.hpp>
#include <fiber/asyncio/tasks.hpp>
#include <fiber/asyncio/threads.hpp>
#include <fiber/asyncio/timeouts.hpp>
#include <fiber/asyncio/tracing.hpp>
#include <fiber/asyncio/with.hpp>
