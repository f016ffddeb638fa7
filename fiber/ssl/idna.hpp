// Names of hosts in other scripts than ASCII. Python: the codec "idna".
#pragma once

#include <fiber/config.hpp>

#include <string>
#include <string_view>

namespace fiber::ssl::detail {

/// "bücher.example" becomes "xn--bcher-kva.example"; ASCII stays as it is. Takes UTF-8. Letters of
/// the Latin, Greek, Cyrillic and Armenian scripts become small ones; letters of other scripts have
/// no case or are taken as they are. Throws ValueError for an empty or overlong label, for what is
/// not UTF-8, and for combining marks, which have to be composed with their letters first (NFC).
FIBER_API std::string to_ascii(std::string_view host);

}  // namespace fiber::ssl::detail
