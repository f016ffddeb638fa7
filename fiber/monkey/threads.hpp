#pragma once

#include <fiber/monkey/hooks.hpp>

#include <span>

namespace fiber::monkey::detail {

std::span<const Hook> thread_hooks() noexcept;  // pthread_rwlock_*, sem_*, what runs once

}  // namespace fiber::monkey::detail
