// Which attention benchmarks there are.
#pragma once

#include "bench/names.hpp"

#include <vector>

namespace bench {

std::vector<AttendCase> attend_cases();

/// From decode to prefill and from small heads to large, by our own kernels: no size may fall off a cliff.
std::vector<AttendCase> sweep_cases();

/// Works whose time is taken apart.
std::vector<AttendCase> phase_cases();

}  // namespace bench
