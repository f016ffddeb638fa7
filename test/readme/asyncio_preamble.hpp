// Declarations that the README's examples of asyncio assume.
#pragma once

#include <fiber/asyncio.hpp>

#include <chrono>
#include <vector>

using namespace fiber;
using namespace std::chrono_literals;
using asyncio::await;
using asyncio::nanoseconds;
