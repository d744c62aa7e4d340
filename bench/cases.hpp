// Which attention benchmarks there are.
#pragma once

#include "bench/names.hpp"

#include <vector>

namespace bench {

std::vector<AttendCase> attend_cases();

}  // namespace bench
