#pragma once

#include <attenta/engine/common/row_statistics.hpp>
#include <attenta/engine/kernel.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// A key and a value that join a finished row o of attention.
struct JoiningKey {
    const float *key, *value;
    std::int64_t dim, dim_v;
    float scale;
};

/// The row's statistics with the key among them; o becomes the output over all keys.
using JoinKey = RowStatistics (*)(const JoiningKey& key, const float* q, const RowStatistics& row, float* o);
ATTENTA_DECLARE_KERNEL(JoinKey, join_bias_key)

}  // namespace detail

ATTENTA_END
