#pragma once

#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/kv/policies/q_filters.hpp>

#include <algorithm>
#include <string>

ATTENTA_BEGIN

ATTENTA_INLINE EvictionNeeds QFilters::needs(const EvictionShape& shape) {
    if (!filters_ || filters_.rows != shape.kv_heads || filters_.cols != shape.dim)
        fail("q_filters", "filters are [" + std::to_string(filters_.rows) + ", " + std::to_string(filters_.cols) +
                              "], needs [" + std::to_string(shape.kv_heads) + ", " + std::to_string(shape.dim) + "]");
    for (std::int64_t g = 0; g < filters_.rows; ++g)
        if (!std::all_of(filters_.row(0, g), filters_.row(0, g) + filters_.cols, is_finite))
            fail("q_filters", "filters of head " + std::to_string(g) + " have NaN or infinity, needs finite numbers");
    return FixedScores::needs(shape);
}

ATTENTA_END
