// Which benchmarks of linear attention there are.
#pragma once

#include "bench/linear/names.hpp"

#include <vector>

namespace bench {

std::vector<LinearCase> linear_cases();
std::vector<GrowthCase> growth_cases();

}  // namespace bench
