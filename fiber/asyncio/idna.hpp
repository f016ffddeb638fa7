// Host names with letters beyond ASCII. Python: the codec "idna".
#pragma once

#include <fiber/config.hpp>

#include <string>
#include <string_view>

namespace fiber::asyncio::detail {

/// Returns "xn--bcher-kva.example" for "bücher.example"; ASCII stays unchanged. Takes UTF-8.
/// Letters of the Latin, Greek, Cyrillic and Armenian scripts become lower case; letters of other
/// scripts have no case or stay unchanged. Throws ValueError for an empty or overlong label, of
/// ASCII too, for a text that is not UTF-8, and for combining marks, which must be composed with
/// their letters first (NFC).
FIBER_API std::string to_ascii(std::string_view host);

}  // namespace fiber::asyncio::detail
