// The middle of a list of timings.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

namespace bench {

/// Reorders the values, of which there is at least one.
inline double median(std::span<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

}  // namespace bench
