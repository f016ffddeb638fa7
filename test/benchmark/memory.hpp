// Memory per item, for the rows "memory: ..." of the table, which count bytes.
#pragma once

#include <string>
#include <vector>

namespace works {

std::vector<std::string> memory_works();

// Prints the rows of one work. Returns false if there is none of that name.
bool measure_memory(const std::string& name);

}  // namespace works
