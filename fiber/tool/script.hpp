// Scripts, as the kernel sees them.
#pragma once

#include <string>

namespace fiber::tool {

// Returns the interpreter that the #! line of a script names; empty for a file without one.
std::string interpreter_of_script(const std::string& path);

}  // namespace fiber::tool
