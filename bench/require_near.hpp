// Numbers of a peer beside attenta's.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>

namespace bench {

/// Throws std::runtime_error, which `what` begins, unless each number is within `relative` of the largest that attenta has.
inline void require_near(const std::string& what, std::span<const float> got, std::span<const float> want,
                         double relative) {
    if (got.size() != want.size()) throw std::runtime_error(what + " has another size than attenta's");
    double largest = 0;
    for (const float x : want) largest = std::max(largest, std::abs(double{x}));
    for (std::size_t i = 0; i < want.size(); ++i)
        if (!(std::abs(double{got[i]} - double{want[i]}) <= relative * largest))
            throw std::runtime_error(what + " [" + std::to_string(i) + "] is " + std::to_string(got[i]) +
                                     ", attenta has " + std::to_string(want[i]));
}

}  // namespace bench
