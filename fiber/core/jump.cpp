// Compares the declarations of jump.hpp with Boost.Context's own.
#include <fiber/core/jump.hpp>

#include <boost/context/detail/fcontext.hpp>

#include <cstddef>
#include <type_traits>

namespace fiber::core {
namespace {

namespace theirs = boost::context::detail;

static_assert(std::is_same_v<theirs::fcontext_t, void*>);
static_assert(std::is_trivially_copyable_v<theirs::transfer_t> &&
              std::is_trivially_destructible_v<theirs::transfer_t>);
static_assert(sizeof(theirs::transfer_t) == sizeof(BoostTransfer) &&
              alignof(theirs::transfer_t) == alignof(BoostTransfer));
static_assert(offsetof(theirs::transfer_t, fctx) == offsetof(BoostTransfer, context) &&
              offsetof(theirs::transfer_t, data) == offsetof(BoostTransfer, data));
static_assert(std::is_same_v<decltype(theirs::transfer_t::fctx), void*> &&
              std::is_same_v<decltype(theirs::transfer_t::data), void*>);
static_assert(
    std::is_same_v<decltype(&theirs::jump_fcontext), theirs::transfer_t (*)(void*, void*)>);
static_assert(std::is_same_v<decltype(&theirs::make_fcontext),
                             void* (*)(void*, std::size_t, void (*)(theirs::transfer_t))>);

}  // namespace
}  // namespace fiber::core
