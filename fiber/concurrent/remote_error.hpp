// Exceptions on their way from one process to another.
#pragma once

#include <exception>
#include <string>

namespace fiber::concurrent::futures::detail {

/// Converts an exception to bytes, and back: with its type if that is one of the known ones, else
/// as OSError with its number if it is one, else as RuntimeError; the message is kept.
std::string dump_error(const std::exception_ptr& error);
std::exception_ptr load_error(const std::string& bytes);

}  // namespace fiber::concurrent::futures::detail
