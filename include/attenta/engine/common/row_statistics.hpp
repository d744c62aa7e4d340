// What exact softmax knows of a row of scores.
#pragma once

#include <attenta/core/config.hpp>

#include <cmath>
#include <limits>

ATTENTA_BEGIN

/// The largest score of a row and the sum of exp(score - max), the sink among them. They stay apart because their
/// log-sum-exp, one float, tells the sum of a row only to 3e-5 at scores of 1e3 and to 6 % at 1e6.
struct RowStatistics {
    float max = -std::numeric_limits<float>::infinity();
    float sum = 0;

    bool empty() const { return sum == 0.f; }  ///< the row sees no key and has no sink
    float lse() const { return empty() ? -std::numeric_limits<float>::infinity() : max + std::log(sum); }
    /// What turns the sum of weights exp(score - max) times values into the row's output.
    float output_factor() const { return empty() ? 0.f : 1.f / sum; }
};

ATTENTA_END
